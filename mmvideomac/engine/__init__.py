"""Training-time parts that plug into mmengine's Runner."""

from .hooks import (
    AtomicCheckpointHook,
    ClassCountCheckHook,
    EMATargetHook,
    OptimStepEMAHook,
    PreemptionHook,
    PretrainedCheckHook,
    PropagationProgressHook,
    ReconstructionHook,
    ReplacedSamplesHook,
    ReproducibilityHook,
    SyncRunningStatsHook,
    ThroughputHook,
)
from .loops import CycleProbeLoop, LabelPropagationProbeLoop, ResumableTrainLoop
from .optim_steps import OptimStepSchedulerHook
from .optim_wrapper import (
    CPUAmpOptimWrapper,
    FiniteAmpOptimWrapper,
    FiniteOptimWrapper,
    GroupedOptimWrapperConstructor,
)

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'ClassCountCheckHook',
    'CycleProbeLoop',
    'EMATargetHook',
    'FiniteAmpOptimWrapper',
    'FiniteOptimWrapper',
    'GroupedOptimWrapperConstructor',
    'LabelPropagationProbeLoop',
    'OptimStepEMAHook',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReplacedSamplesHook',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'SyncRunningStatsHook',
    'ThroughputHook',
]
