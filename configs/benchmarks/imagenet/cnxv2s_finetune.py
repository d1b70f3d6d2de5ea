# ConvNeXt V2-S is none of FCMAE's sizes: the recipe is that of the next one, V2-B.
_base_ = 'cnxv2t_finetune.py'

pretrained = dict(checkpoint='work_dirs/videomac_cnxv2s_yt18/epoch_100.pth')
model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1, init_cfg=pretrained),
    head=dict(loss=dict(label_smooth_val=0.1)),
)
optim_wrapper = dict(optimizer=dict(lr=2.5e-3), paramwise_cfg=dict(layer_decay_rate=0.6))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=20, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
