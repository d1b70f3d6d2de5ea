# Table 1, ViT-S/8: 71.4 J&F on DAVIS-2017. Four times as many tokens.
_base_ = 'siammae_vits16_k400.py'

model = dict(backbone=dict(patch_size=8), head=dict(patch_size=8))
train_dataloader = dict(batch_size=64)
