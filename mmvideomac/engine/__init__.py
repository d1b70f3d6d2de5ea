"""Training-time parts that plug into mmengine's Runner."""

from .cpu_amp import CPUAmpOptimWrapper
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
    ThroughputHook,
)
from .loops import LabelPropagationProbeLoop, ResumableTrainLoop
from .optim_wrapper_constructor import GroupedOptimWrapperConstructor
from .replica import Replica

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'ClassCountCheckHook',
    'EMATargetHook',
    'GroupedOptimWrapperConstructor',
    'LabelPropagationProbeLoop',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'Replica',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'ThroughputHook',
]
