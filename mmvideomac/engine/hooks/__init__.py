"""Hooks."""

from .checkpoint_hook import AtomicCheckpointHook
from .ema_hooks import EMATargetHook, OptimStepEMAHook
from .finetune_check_hooks import ClassCountCheckHook, PretrainedCheckHook
from .logging_hooks import PropagationProgressHook, ThroughputHook
from .preemption_hook import PreemptionHook
from .reconstruction_hook import ReconstructionHook
from .replaced_samples_hook import ReplacedSamplesHook
from .reproducibility_hook import ReproducibilityHook
from .sync_running_stats_hook import SyncRunningStatsHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassCountCheckHook',
    'EMATargetHook',
    'OptimStepEMAHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReplacedSamplesHook',
    'ReproducibilityHook',
    'SyncRunningStatsHook',
    'ThroughputHook',
]
