"""Hooks."""

from .checkpoint_hook import AtomicCheckpointHook
from .class_count_check_hook import ClassCountCheckHook
from .ema_target_hook import EMATargetHook
from .optim_step_scheduler_hook import OptimStepSchedulerHook
from .preemption_hook import PreemptionHook
from .pretrained_check_hook import PretrainedCheckHook
from .propagation_progress_hook import PropagationProgressHook
from .reconstruction_hook import ReconstructionHook
from .reproducibility_hook import ReproducibilityHook
from .sync_running_stats_hook import SyncRunningStatsHook
from .throughput_hook import ThroughputHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassCountCheckHook',
    'EMATargetHook',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReproducibilityHook',
    'SyncRunningStatsHook',
    'ThroughputHook',
]
