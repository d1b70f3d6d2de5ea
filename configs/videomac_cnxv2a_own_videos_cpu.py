# An hour or two on two CPU cores, for a folder of your own videos. Frames first, since
# random access into video files takes longer than training on them:
# python tools/data/extract_frames.py /path/to/videos data/own_frames --short-side 192
# python tools/train.py configs/videomac_cnxv2a_own_videos_cpu.py
_base_ = 'videomac_quickstart_cpu.py'

train_dataloader = dict(
    dataset=dict(
        data_root='data/own_frames',
        # As many pairs of a short clip as of a long one.
        sampling=dict(type='per_video', repeats=64, gap=(1, 1)),
    )
)

train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, begin=5, end=100, convert_to_iter_based=True),
]
default_hooks = dict(
    ema_target=dict(momentum=0.996),
    checkpoint=dict(interval=10),
)
