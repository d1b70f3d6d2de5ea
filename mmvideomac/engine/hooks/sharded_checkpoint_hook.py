"""Checkpoints of big models: written by all processes, while training goes on."""

from __future__ import annotations

import os.path as osp
import shutil
import time
from concurrent.futures import Future, wait
from datetime import timedelta
from pathlib import Path

import mmengine
import torch
from mmengine.dist import all_reduce, is_distributed, is_main_process
from mmengine.runner import Runner
from torch import distributed

from mmvideomac.checkpoint import sharded
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS
from mmvideomac.utils.files import publish_folder, unfinished, write_file

from ..optim_steps import optim_step
from .checkpoint_hook import AtomicCheckpointHook

#: Optimiser steps between two looks at the clock for ``minutes``.
_STEPS_PER_LOOK = 10


@HOOKS.register_module()
class ShardedCheckpointHook(AtomicCheckpointHook):
    """:class:`AtomicCheckpointHook` whose checkpoints are torch's distributed ones: folders.

    Every process writes its share of the tensors. Resuming, ``get_encoder`` and all tools take
    the folder, ``epoch_<n>.dcp``, as they take a file, on any number of processes.

    A folder has its name only when it is complete; ``last_checkpoint`` names it and outdated ones
    are deleted only after that. A save that fails is an error in the log on all processes, and
    training goes on to the next. Before a save, and in the end, the one before is waited for.
    The best checkpoint of ``save_best``, weights alone, remains a file.

    Args:
        *args: As in :class:`AtomicCheckpointHook`.
        asynchronous: Training waits only until the tensors are copied to memory of the CPU.
        timeout: Minutes that a save may take. One that takes longer is not followed by another
            before it has ended.
        filename_tmpl: As in mmengine; ends in ``.dcp``.
        **kwargs: As in :class:`AtomicCheckpointHook`.

    Raises:
        ValueError: for a ``filename_tmpl`` without that end.
    """

    mid_epoch_file = f'mid_epoch{sharded.SUFFIX}'

    def __init__(
        self,
        *args,
        asynchronous: bool = True,
        timeout: float = 30.0,
        filename_tmpl: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, filename_tmpl=filename_tmpl, **kwargs)
        if filename_tmpl is None:
            self.filename_tmpl = osp.splitext(self.filename_tmpl)[0] + sharded.SUFFIX
        if not self.filename_tmpl.endswith(sharded.SUFFIX):
            raise ValueError(f'filename_tmpl={filename_tmpl!r} must end in {sharded.SUFFIX}')
        self.asynchronous = asynchronous
        self.timeout = timeout
        #: Path, what becomes of it, and the checkpoint before.
        self._under_way: tuple[str, Future, str | None] | None = None
        self._outdated: list[str] = []

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        # Of its own, since it is used while the processes exchange gradients.
        self._group = (
            distributed.new_group(backend='gloo', timeout=timedelta(minutes=self.timeout))
            if is_distributed()
            else None
        )

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if self._under_way is not None and self._under_way[1].done():
            self._finish(runner)
        super().after_train_iter(runner, *args, **kwargs)

    def _is_due(self, runner: Runner) -> bool:
        # The clocks of the processes differ, but all of them save, or none.
        if optim_step(runner) % _STEPS_PER_LOOK:
            return False
        due = torch.tensor(super()._is_due(runner), dtype=torch.uint8)
        all_reduce(due, 'max')
        return bool(due)

    def _write(self, runner: Runner, filename: str, meta: dict) -> bool:
        """Begin to save; False if that is known to have failed."""
        self._saved_at = time.monotonic()
        former = self.last_ckpt
        path = self.file_backend.join_path(self.out_dir, filename)
        if not self._settle(runner):
            error = TimeoutError(f'after {self.timeout:g} min the save before is still going on')
            self._note_failure(runner, error, former)
            return False
        self.last_ckpt = path
        runner.message_hub.update_info('last_ckpt', path)
        checkpoint = self._collect(runner, meta)
        if is_main_process():  # of a save that failed
            shutil.rmtree(unfinished(path), ignore_errors=True)
        future = sharded.save(checkpoint, unfinished(path), self._group, self.asynchronous)
        self._under_way = (path, future, former)
        if not self.asynchronous:
            self._finish(runner)
        return not self._failures or self.asynchronous

    def _collect(self, runner: Runner, meta: dict) -> dict:
        """The checkpoint of ``Runner.save_checkpoint``, on all processes and where it is."""
        meta = dict(
            meta,
            cfg=runner.cfg.pretty_text,
            seed=runner.seed,
            experiment_name=runner.experiment_name,
            time=time.strftime('%Y%m%d_%H%M%S'),
            mmengine_version=mmengine.__version__,
        )
        if hasattr(runner.train_dataloader.dataset, 'metainfo'):
            meta['dataset_meta'] = runner.train_dataloader.dataset.metainfo
        checkpoint = dict(
            meta=meta,
            state_dict=unwrap_model(runner.model).state_dict(),
            message_hub=runner.message_hub.state_dict(),
        )
        if self.save_optimizer:
            checkpoint['optimizer'] = runner.optim_wrapper.state_dict()
        if self.save_param_scheduler and runner.param_schedulers is not None:
            checkpoint['param_schedulers'] = [s.state_dict() for s in runner.param_schedulers]
        runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        return checkpoint

    def _settle(self, runner: Runner) -> bool:
        """Until the save under way has ended on all processes; False if it takes too long."""
        if self._under_way is not None:
            future = self._under_way[1]
            wait([future], timeout=60 * self.timeout)
            if future.done():
                self._finish(runner)
        ended = torch.tensor(self._under_way is None, dtype=torch.uint8)
        all_reduce(ended, 'min')
        return bool(ended)

    def _finish(self, runner: Runner) -> None:
        """Give the folder that is written its name, and delete what is outdated by it."""
        (path, future, former), self._under_way = self._under_way, None
        error = future.exception()
        if error is None and is_main_process():
            try:
                publish_folder(path)
                write_file(osp.join(runner.work_dir, 'last_checkpoint'), path)
            except OSError as raised:
                error = raised
        if error is not None:
            self._note_failure(runner, OSError(f'{path}: {sharded.reason(error)}'), former)
            return
        self._note_success(runner)
        outdated, self._outdated = self._outdated, []
        for name in outdated:
            if name != path:
                self._remove(name)

    def _remove(self, path: str) -> None:
        if not is_main_process():
            return
        if self._under_way is not None or self._failures:
            self._outdated.append(path)
        elif Path(path).is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            super()._remove(path)
