"""Training-time parts that plug into mmengine's Runner."""

from .hooks import (
    AtomicCheckpointHook,
    ClassCountCheckHook,
    EMATargetHook,
    OptimStepSchedulerHook,
    PreemptionHook,
    PretrainedCheckHook,
    PropagationProgressHook,
    ReconstructionHook,
    ReproducibilityHook,
    SyncRunningStatsHook,
    ThroughputHook,
)
from .loops import LabelPropagationProbeLoop, ResumableTrainLoop
from .optim_wrapper_constructor import GroupedOptimWrapperConstructor

__all__ = [
    'AtomicCheckpointHook',
    'ClassCountCheckHook',
    'EMATargetHook',
    'GroupedOptimWrapperConstructor',
    'LabelPropagationProbeLoop',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'SyncRunningStatsHook',
    'ThroughputHook',
]
