"""Training-time parts that plug into mmengine's Runner."""

from .hooks import (
    AtomicCheckpointHook,
    EMATargetHook,
    OptimStepSchedulerHook,
    PreemptionHook,
    ReconstructionHook,
    ReproducibilityHook,
    ThroughputHook,
)
from .loops import ResumableTrainLoop
from .optim_wrapper_constructor import GroupedOptimWrapperConstructor

__all__ = [
    'AtomicCheckpointHook',
    'EMATargetHook',
    'GroupedOptimWrapperConstructor',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'ReconstructionHook',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'ThroughputHook',
]
