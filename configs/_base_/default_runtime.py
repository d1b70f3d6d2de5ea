# Imported before anything is built: registers the package and prepares the
# environment (mmvideomac.utils.environment).
custom_imports = dict(imports=['mmvideomac'], allow_failed_imports=False)
default_scope = 'mmvideomac'

# Named entries rather than `custom_hooks`, since a list in a child config
# replaces the whole list. Disable one with `default_hooks.<name>=None`.
default_hooks = dict(
    runtime_info=dict(type='DeferredRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20),
    param_scheduler=dict(type='OptimStepSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=3, minutes=30),
    reproducibility=dict(type='ReproducibilityHook'),
    running_stats=dict(type='SyncRunningStatsHook'),
    throughput=dict(type='ThroughputHook'),
    preemption=dict(type='PreemptionHook'),
)

env_cfg = dict(
    # Of a GPU: shapes are fixed, and what runs in float32 may multiply in TF32 (docs/gpu.md).
    cudnn_benchmark=True,
    allow_tf32=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds: the first scan of a large data set keeps the other processes waiting.
    dist_cfg=dict(backend='nccl', timeout=7200),
)
# seed=None draws another one for every run.
randomness = dict(seed=0, deterministic=False)

log_level = 'INFO'
log_processor = dict(window_size=20)
visualizer = dict(
    type='UniversalVisualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)

load_from = None
resume = False
