"""Samples that could not be read, counted over all workers and processes."""

from __future__ import annotations

import os.path as osp
from collections import Counter

import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.registry import HOOKS
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_json


@HOOKS.register_module()
class ReplacedSamplesHook(Hook):
    """Counts samples in the place of such as cannot be read, names their files once each, and
    ends the run if there are too many.

    The samples tell it themselves, by the meta information ``replaced`` of
    :class:`~mmvideomac.datasets.FramePairDataset`. Their number since the start of the run is
    logged as ``replaced``, from the first one on. At the end the log sums them up, and
    ``replaced_samples.json`` in the work directory lists the files. Checkpoints keep the
    numbers as they were last exchanged.

    Args:
        interval: Iterations after which the processes exchange what they counted.
        max_rate: Share of replaced samples, in [0, 1], above which the run ends.
        window: Samples of all processes over which the share is taken, at least.

    Raises:
        UserError: on all processes, if the share is above ``max_rate``.
    """

    # Between IterTimerHook (NORMAL) and LoggerHook (BELOW_NORMAL).
    priority = 55

    #: Files that a message names; the JSON file has them all.
    SHOWN = 10

    def __init__(self, interval: int = 20, max_rate: float = 0.1, window: int = 1000) -> None:
        if not 0 <= max_rate <= 1:
            raise ValueError(f'max_rate={max_rate} must lie in [0, 1]')
        self.interval = interval
        self.max_rate = max_rate
        self.window = window

    def before_train(self, runner: Runner) -> None:
        """Go on from what an interrupted run had counted."""
        saved = runner.message_hub.runtime_info.get('replaced_samples', [])
        self._counts = Counter({(path, kind): samples for path, kind, _, samples in saved})
        self._reasons = {path: reason for path, _, reason, _ in saved}
        self._new, self._seen = [], 0  # since the last exchange
        self._window_new, self._window_seen = 0, 0
        runner.train_dataloader.dataset.warn_of_replaced = False  # it is done here

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs=None
    ) -> None:
        samples = data_batch.get('data_samples', ())
        self._seen += len(samples)
        for sample in samples:
            if 'replaced' in sample:
                self._new.append(sample.replaced)
                self._name(runner, *sample.replaced)
        if self.every_n_train_iters(runner, self.interval):
            self._exchange(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._exchange(runner)

    def after_train(self, runner: Runner) -> None:
        if self._counts:
            runner.logger.warning(self._summary(runner))

    def _name(self, runner: Runner, path: str, kind: str, reason: str) -> None:
        if path not in self._reasons:
            self._reasons[path] = reason
            runner.logger.warning(
                f'another sample takes the place of one that cannot be read ({kind}): {path}: '
                f'{reason}.'
            )

    def _exchange(self, runner: Runner) -> None:
        numbers = torch.tensor([len(self._new), self._seen])
        all_reduce(numbers)
        new, seen = numbers.tolist()
        if new:
            for entries in all_gather_object(self._new):
                for path, kind, reason in entries:
                    self._name(runner, path, kind, reason)
                    self._counts[path, kind] += 1
            runner.message_hub.update_info('replaced_samples', self._entries())
        if self._counts:
            runner.message_hub.update_scalar('train/replaced', self._counts.total())
        self._new, self._seen = [], 0
        self._window_new += new
        self._window_seen += seen
        if self._window_seen >= self.window:
            rate, seen = self._window_new / self._window_seen, self._window_seen
            self._window_new, self._window_seen = 0, 0
            if rate > self.max_rate:
                raise UserError(
                    f'{rate:.1%} of the last {seen} samples cannot be read, more than max_rate '
                    f'{self.max_rate:.1%} of ReplacedSamplesHook. {self._summary(runner)} Mend '
                    'or remove them, or raise max_rate; what is saved is intact.'
                )

    def _entries(self) -> list[list]:
        """[path, kind, reason, samples] of each file and kind."""
        return [[path, kind, self._reasons[path], n] for (path, kind), n in self._counts.items()]

    def _summary(self, runner: Runner) -> str:
        """Numbers and files; writes them all to a file."""
        kinds = Counter()
        for (_, kind), samples in self._counts.items():
            kinds[kind] += samples
        shown = ', '.join(f'{path} ({n})' for (path, _), n in self._counts.most_common(self.SHOWN))
        file = osp.join(runner.work_dir, 'replaced_samples.json')
        if is_main_process():
            keys = ('path', 'kind', 'reason', 'samples')
            write_json(file, [dict(zip(keys, e, strict=True)) for e in self._entries()])
        return (
            f'{kinds.total()} samples of {len(self._reasons)} files were replaced since the start '
            f'({", ".join(f"{n} {kind}" for kind, n in kinds.most_common())}): {shown}'
            f'{", ..." * (len(self._counts) > self.SHOWN)}; all in {file}.'
        )
