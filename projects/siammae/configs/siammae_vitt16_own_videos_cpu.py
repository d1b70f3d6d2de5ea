# An hour or two on two CPU cores, for a folder of your own videos: the width of ViT-Ti/16, half
# its depth, 128-pixel frames. Frames first, since random access into video files takes longer
# than training on them:
# python tools/data/extract_frames.py /path/to/videos data/own_frames --short-side 192
# python tools/train.py projects/siammae/configs/siammae_vitt16_own_videos_cpu.py
_base_ = 'siammae_vits16_k400.py'

model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=768, _delete_=True
        ),
        img_size=128,
    ),
    head=dict(in_channels=192, img_size=128, embed_dims=192, depth=2, num_heads=6),
)

crop = dict(
    type='RandomResizedCropFrames',
    scale=128,
    crop_ratio_range=(0.5, 1.0),
    interpolation='bicubic',
    flip_prob=0.5,
)
train_pipeline = [crop, dict(type='PackFramePair')]
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(data_root='data/own_frames', sampling=dict(repeats=64), pipeline=train_pipeline),
)

total_batch_size = 32
auto_scale_lr = dict(base_batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=8e-4))

train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, begin=5, end=100, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=10))
