custom_imports = dict(
    allow_failed_imports=False,
    imports=[
        'mmvideomac',
    ],
)
default_hooks = dict(
    checkpoint=dict(
        filename_tmpl='e{}', interval=1, max_keep_ckpts=3, minutes=30, type='ShardedCheckpointHook'
    ),
    ema=dict(momentum=0.9, schedule='cosine', type='EMATargetHook'),
    logger=dict(interval=5, type='LoggerHook'),
    param_scheduler=dict(type='OptimStepSchedulerHook'),
    preemption=dict(type='PreemptionHook'),
    record=dict(type='RecordHook'),
    reproducibility=dict(type='ReproducibilityHook'),
    running_stats=dict(type='SyncRunningStatsHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    throughput=dict(type='ThroughputHook'),
    timer=dict(type='IterTimerHook'),
)
default_scope = 'mmvideomac'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl', timeout=7200),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
)
experiment_name = 'toy11'
launcher = 'none'
load_from = None
log_level = 'WARNING'
log_processor = dict(window_size=20)
model = dict(type='ToyModel')
optim_wrapper = dict(
    accumulative_counts=1, optimizer=dict(lr=0.05, type='AdamW'), type='FiniteOptimWrapper'
)
param_scheduler = [
    dict(by_epoch=True, convert_to_iter_based=True, end=1, start_factor=0.1, type='LinearLR'),
    dict(T_max=2, begin=1, by_epoch=True, convert_to_iter_based=True, type='CosineAnnealingLR'),
]
randomness = dict(deterministic=False, seed=0)
resume = False
train_cfg = dict(max_epochs=3, type='ResumableTrainLoop')
train_dataloader = dict(
    batch_size=4,
    collate_fn=dict(type='default_collate'),
    dataset=dict(length=48, type='ToyDataset'),
    num_workers=0,
    sampler=dict(multiple_of=4, type='ToySampler'),
)
visualizer = dict(
    type='UniversalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ],
)
work_dir = 'unused'
