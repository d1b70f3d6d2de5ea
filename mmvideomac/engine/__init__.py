"""Training-time parts that plug into mmengine's Runner."""

from .hooks import (
    AtomicCheckpointHook,
    EMATargetHook,
    OptimStepSchedulerHook,
    PreemptionHook,
    PropagationProgressHook,
    ReconstructionHook,
    ReproducibilityHook,
    ThroughputHook,
)
from .loops import ResumableTrainLoop
from .optim_wrapper_constructor import GroupedOptimWrapperConstructor
from .replica import Replica

__all__ = [
    'AtomicCheckpointHook',
    'EMATargetHook',
    'GroupedOptimWrapperConstructor',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'Replica',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'ThroughputHook',
]
