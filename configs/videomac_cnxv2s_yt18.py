_base_ = [
    '_base_/models/videomac_convnextv2.py',
    '_base_/datasets/youtube_vos.py',
    '_base_/schedules/adamw_cosine_100e.py',
    '_base_/default_runtime.py',
]

default_hooks = dict(
    ema_target=dict(type='EMATargetHook', momentum=0.996, schedule='constant'),
    reconstruction=dict(type='ReconstructionHook', interval=1000),
)
