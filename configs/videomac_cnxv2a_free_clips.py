# 28 clips under free licences, 43 000 pairs: half an hour on one CPU core.
# python tools/data/prepare.py free_clips
# python tools/data/extract_frames.py data/free_clips data/free_clips_frames --short-side 192
# python tools/train.py configs/videomac_cnxv2a_free_clips.py
_base_ = 'videomac_cnxv2a_own_videos_cpu.py'

crop = dict(
    type='RandomResizedCropFrames',
    scale=128,
    crop_ratio_range=(0.2, 1.0),
    interpolation='bicubic',
    flip_prob=0.5,
)
train_pipeline = [crop, dict(type='PackFramePair')]
train_dataloader = dict(
    dataset=dict(data_root='data/free_clips_frames', pipeline=train_pipeline),
)

train_cfg = dict(max_epochs=24)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=22, begin=2, end=24, convert_to_iter_based=True),
]
