"""How far label propagation has come."""

import time
from datetime import timedelta

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS


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
