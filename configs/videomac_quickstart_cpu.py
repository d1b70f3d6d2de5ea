# Small enough for two CPU cores: ConvNeXt V2 atto on 160-pixel frames.
_base_ = 'videomac_cnxv2s_yt18.py'

model = dict(backbone=dict(arch='atto'), head=dict(in_channels=320, embed_dims=256))

crop = dict(
    type='RandomResizedCropFrames',
    scale=160,
    crop_ratio_range=(0.2, 1.0),
    interpolation='bicubic',
    flip_prob=0.5,
)
train_pipeline = [crop, dict(type='PackFramePair')]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(data_root='work_dirs/quickstart/samples/videos', pipeline=train_pipeline),
)

total_batch_size = 32
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=8e-4))
# 0.996 averages over more steps than a run of minutes has.
default_hooks = dict(ema_target=dict(momentum=0.98))
