"""Hooks."""

from .checkpoint_hook import AtomicCheckpointHook
from .ema_target_hook import EMATargetHook
from .optim_step_scheduler_hook import OptimStepSchedulerHook
from .preemption_hook import PreemptionHook
from .propagation_progress_hook import PropagationProgressHook
from .reconstruction_hook import ReconstructionHook
from .reproducibility_hook import ReproducibilityHook
from .throughput_hook import ThroughputHook

__all__ = [
    'AtomicCheckpointHook',
    'EMATargetHook',
    'OptimStepSchedulerHook',
    'PreemptionHook',
    'PropagationProgressHook',
    'ReconstructionHook',
    'ReproducibilityHook',
    'ThroughputHook',
]
