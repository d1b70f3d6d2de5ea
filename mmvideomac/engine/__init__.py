"""Training-time parts that plug into mmengine's Runner."""

from .hooks import (
    AtomicCheckpointHook,
    EMATargetHook,
    PreemptionHook,
    ReconstructionHook,
    ReproducibilityHook,
    ThroughputHook,
)
from .loops import ResumableTrainLoop

__all__ = [
    'AtomicCheckpointHook',
    'EMATargetHook',
    'PreemptionHook',
    'ReconstructionHook',
    'ReproducibilityHook',
    'ResumableTrainLoop',
    'ThroughputHook',
]
