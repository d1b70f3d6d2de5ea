# mmpretrain's runtime, and what stops a fine-tuning that would go wrong unnoticed.
_base_ = 'mmpretrain::_base_/default_runtime.py'

custom_imports = dict(imports=['mmvideomac'], allow_failed_imports=False)

default_hooks = dict(
    checkpoint=dict(
        type='mmvideomac.AtomicCheckpointHook', max_keep_ckpts=2, save_best='accuracy/top1'
    ),
    pretrained_check=dict(type='mmvideomac.PretrainedCheckHook'),
    class_count_check=dict(type='mmvideomac.ClassCountCheckHook'),
    running_stats=dict(type='mmvideomac.SyncRunningStatsHook'),
)
randomness = dict(seed=0)
