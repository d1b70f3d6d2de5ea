"""How fast training is, and how much memory it takes."""

import sys

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS

try:
    import resource
except ImportError:  # Windows
    resource = None


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs ``pairs_per_s`` and, without a GPU, ``memory``.

    ``pairs_per_s`` is the number of samples of all processes per second, from
    the same smoothed ``time`` as on its log line. ``memory`` is the peak resident
    memory of the process in MiB, without its workers; mmengine itself logs that
    of the GPU, if there is one.
    """

    # Between IterTimerHook (NORMAL), whose time it reads, and LoggerHook (BELOW_NORMAL).
    priority = 55

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        hub = runner.message_hub
        seconds = hub.get_scalar('train/time').mean(runner.log_processor.window_size)
        samples = runner.train_dataloader.batch_size * runner.world_size
        hub.update_scalar('train/pairs_per_s', samples / seconds)
        if resource and not torch.cuda.is_available():
            hub.update_scalar('train/memory', _peak_memory())


def _peak_memory() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == 'darwin' else 2**10)  # bytes there, KiB elsewhere
