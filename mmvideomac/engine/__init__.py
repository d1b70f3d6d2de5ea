"""Training-time parts that plug into mmengine's Runner."""

from .hooks import (
    AtomicCheckpointHook,
    ClassCountCheckHook,
    DeferredRuntimeInfoHook,
    EMATargetHook,
    NonFiniteStepHook,
    OptimStepEMAHook,
    PreemptionHook,
    PretrainedCheckHook,
    PropagationProgressHook,
    ReconstructionHook,
    ReplacedSamplesHook,
    ReproducibilityHook,
    ShardedCheckpointHook,
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
    'DeferredRuntimeInfoHook',
    'EMATargetHook',
    'FiniteAmpOptimWrapper',
    'FiniteOptimWrapper',
    'GroupedOptimWrapperConstructor',
    'LabelPropagationProbeLoop',
    'NonFiniteStepHook',
    'OptimStepEMAHook',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PretrainedCheckHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReplacedSamplesHook',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'ShardedCheckpointHook',
    'SyncRunningStatsHook',
    'ThroughputHook',
]
