"""Hooks."""

from .checkpoint_hook import AtomicCheckpointHook
from .ema_hooks import EMATargetHook, OptimStepEMAHook
from .finetune_check_hooks import ClassCountCheckHook, PretrainedCheckHook
from .logging_hooks import DeferredRuntimeInfoHook, PropagationProgressHook, ThroughputHook
from .nonfinite_step_hook import NonFiniteStepHook
from .preemption_hook import PreemptionHook
from .reconstruction_hook import ReconstructionHook
from .replaced_samples_hook import ReplacedSamplesHook
from .reproducibility_hook import ReproducibilityHook
from .sharded_checkpoint_hook import ShardedCheckpointHook
from .sync_running_stats_hook import SyncRunningStatsHook

__all__ = [
    'AtomicCheckpointHook',
    'ClassCountCheckHook',
    'DeferredRuntimeInfoHook',
    'EMATargetHook',
    'NonFiniteStepHook',
    'OptimStepEMAHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReplacedSamplesHook',
    'ReproducibilityHook',
    'ShardedCheckpointHook',
    'SyncRunningStatsHook',
    'ThroughputHook',
]
