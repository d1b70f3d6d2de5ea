custom_imports = dict(imports=['mmvideomac'], allow_failed_imports=False)
default_scope = 'mmvideomac'

test_cfg = dict()

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=1000),
    param_scheduler=None,
    sampler_seed=None,
    checkpoint=None,
    progress=dict(type='PropagationProgressHook', seconds=10),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds that a process waits for the others, whose share of clips may be longer.
    dist_cfg=dict(backend='nccl', timeout=14400),
    # Seconds without a sign of life of a process, and without progress of any. None: no watch.
    watchdog=dict(heartbeat_timeout=180, progress_timeout=900),
)
# Of the encoder at random initialisation.
randomness = dict(seed=0, deterministic=False)
log_level = 'INFO'
load_from = None
