# Not in the paper.
_base_ = 'siammae_vits16_k400.py'

model = dict(backbone=dict(arch='base'), head=dict(in_channels=768))
train_dataloader = dict(batch_size=128)
