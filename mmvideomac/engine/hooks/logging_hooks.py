"""How fast it goes, how far it has come, and how much memory it takes."""

import sys
import time
from datetime import timedelta

import torch
from mmengine.hooks import Hook, LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS

try:
    import resource
except ImportError:  # Windows
    resource = None


@HOOKS.register_module()
class DeferredRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook``, which reads losses only where they are wanted.

    Reading a loss waits for all that is queued on a GPU, and mmengine reads each of them at
    every iteration. Here they stay there until ``LoggerHook`` writes a line or a checkpoint is
    saved, and then come at once. The log is the same.
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._kept: list[tuple[str, torch.Tensor]] = []
        self._interval = next(
            (hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 1
        )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        self._kept += [(name, value.detach()) for name, value in (outputs or {}).items()]
        if (
            self.every_n_train_iters(runner, self._interval)
            or self.every_n_inner_iters(batch_idx, self._interval)
            or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self._read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._read(runner)
        checkpoint['message_hub'] = runner.message_hub.state_dict()

    def _read(self, runner: Runner) -> None:
        if self._kept:
            names, values = zip(*self._kept, strict=True)
            self._kept.clear()
            for name, value in zip(names, torch.stack(values).tolist(), strict=True):
                runner.message_hub.update_scalar(f'train/{name}', value)


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


@HOOKS.register_module()
class PropagationProgressHook(Hook):
    """Logs clip, frame, speed and remaining time while a clip is being worked on.

    Of a run on several processes it tells the share of this one.

    Args:
        seconds: Between two lines.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds

    def before_test(self, runner: Runner) -> None:
        """Count the frames of this process."""
        dataset = runner.test_dataloader.dataset
        self._total = sum(
            len(dataset.get_data_info(index)['frame_paths'])
            for index in runner.test_dataloader.sampler
        )
        self._done, self._logger = 0, runner.logger
        self._start = self._last = time.monotonic()
        unwrap_model(runner.model).on_frame = self._on_frame

    def _on_frame(self, sequence: str, frame: int, length: int) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._last < self.seconds:
            return
        self._last = now
        pace = (now - self._start) / self._done
        left = timedelta(seconds=round(pace * (self._total - self._done)))
        self._logger.info(
            f'{sequence} {frame}/{length}, in all {self._done}/{self._total} frames, '
            f'{pace:.2f} s per frame, eta {left}'
        )
