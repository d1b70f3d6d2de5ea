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
    replaced=dict(type='ReplacedSamplesHook'),
    throughput=dict(type='ThroughputHook'),
    nonfinite_step=dict(type='NonFiniteStepHook'),
    preemption=dict(type='PreemptionHook'),
)

env_cfg = dict(
    # Of a GPU: shapes are fixed, and what runs in float32 may multiply in TF32 (docs/gpu.md).
    cudnn_benchmark=True,
    allow_tf32=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds, of a collective. The scan of the data, on one process, has a limit of its own.
    dist_cfg=dict(backend='nccl', timeout=1800),
    # Seconds without a sign of life of a process, and without progress of any. None: no watch.
    watchdog=dict(heartbeat_timeout=180, progress_timeout=900),
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
