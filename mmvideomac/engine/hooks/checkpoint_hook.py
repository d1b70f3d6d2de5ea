"""Checkpoints that survive a crash, a full disk and a wrong path."""

import errno
import logging
import os.path as osp
import re
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

from mmvideomac.checkpoint.loading import load_state_dict_strictly
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import remove_unfinished, write_file
from mmvideomac.utils.folder_lock import lock_folder, unlock_folder

from ..optim_steps import accumulated_iterations, ends_optim_step

#: Seconds until a failed save is tried again, doubled with each failure in a row.
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 600.0
#: Seconds between attempts while nothing else is left to do; the other processes wait.
_SHORT_PAUSE = 5.0
#: Seconds for a save that a signal asked for: what sent it will not wait for ever.
_SIGNAL_PATIENCE = 20.0

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, without its ways to lose a run.

    * A file appears under its name only when it is complete, and outdated files
      are deleted only after that; ``last_checkpoint`` is written likewise. What a
      killed run left unfinished is removed before training.
    * A save that fails (disk full, quota, read-only, folder gone) does not end the run: a
      warning tells the cause, earlier checkpoints stay, and it is tried again, with growing
      pauses of 10 s to 10 min, as ``mid_epoch.pth``. Only if the save at the end of
      training fails for ``patience`` minutes the run ends with that error.
    * The folders are locked: no other run writes to them at the same time.
    * With ``minutes``, long epochs are also saved inside, to ``mid_epoch.pth``
      (replaced each time, deleted once the epoch's own checkpoint exists).
    * Iteration checkpoints are saved at optimiser steps only: in between, under
      gradient accumulation, part of the gradient would be lost.
    * With ``save_best``, the name of one score, the weights of the best one are in
      ``best_davis_J_F_epoch_<n>.pth``; it replaces its predecessor in the same way.
      A resumed run goes on from that score.
    * Before training, a checkpoint whose parameters are not exactly the model's
      is an error. (``load_from`` alone would log a warning and train on.) To
      start from a part of a model use ``init_cfg=dict(type='Pretrained')``.

    Args:
        *args: As in :class:`mmengine.hooks.CheckpointHook`.
        minutes: Save inside an epoch whenever so many minutes have passed since
            the last save. None for never.
        patience: Minutes for which the save at the end of training is tried.
        backend_args: As in mmengine; by default local files, written by rename.
        **kwargs: As in :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: if ``save_best`` names several scores; before training, if nothing
            gives a score.
        UserError: before training, if another run has locked a folder.
        OSError: after training, on all processes, if its end could not be saved.
    """

    #: The one rolling checkpoint written inside an epoch.
    mid_epoch_file = 'mid_epoch.pth'

    # Scores of which more is better, for `save_best` without `rule`.
    _default_greater_keys = [*CheckpointHook._default_greater_keys, 'J&F', 'PCK']

    def __init__(
        self,
        *args,
        minutes: float | None = None,
        patience: float = 10.0,
        backend_args: dict | None = None,
        **kwargs,
    ) -> None:
        backend_args = backend_args or dict(backend='atomic_local')
        super().__init__(*args, backend_args=backend_args, **kwargs)
        if self.save_best and len(self.save_best) > 1:
            raise ValueError(f'save_best={self.save_best}: the best is kept by one score')
        self.minutes = minutes
        self.patience = patience

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that the checkpoint fits, when training is about to start from it.

        Raises:
            ValueError: if it is of another architecture.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return  # testing: the model under test is often a part of the pre-trained one
        model = unwrap_model(runner.model)
        state_dict = checkpoint.get('state_dict', checkpoint)
        state_dict = {re.sub(r'^module\.', '', key): value for key, value in state_dict.items()}
        load_state_dict_strictly(model, state_dict, source=runner._load_from or 'The checkpoint')

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if self.save_best and runner.val_loop is None:
            raise ValueError(
                f'save_best={self.save_best} of the checkpoint hook needs scores: add a probe, as '
                'configs/videomac_cnxv2t_yt18_probe.py does.'
            )
        if is_main_process():
            for folder in self._local_folders(runner):
                lock_folder(folder)
                remove_unfinished(folder)
        self._saved_at = time.monotonic()
        self._failures, self._failed_since, self._retry_at = 0, 0.0, float('inf')
        accumulation = accumulated_iterations(runner)
        if not self.by_epoch and self.interval % accumulation:
            asked, self.interval = self.interval, -(-self.interval // accumulation) * accumulation
            print_log(
                f'Checkpoint interval {asked} raised to {self.interval} iterations, a whole number '
                f'of optimiser steps of {accumulation} accumulated iterations each.',
                logger='current',
            )

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        super().after_train_iter(runner, *args, **kwargs)
        if ends_optim_step(runner) and self._is_due(runner):
            self._save_mid_epoch(runner)

    def _is_due(self, runner: Runner) -> bool:
        """Whether to save after this optimiser step, inside an epoch."""
        now = time.monotonic()
        if self._failures:  # then `minutes` must not mean every step
            return now >= self._retry_at
        return self.minutes is not None and now - self._saved_at >= 60 * self.minutes

    def _settle(self, runner: Runner) -> None:
        """Wait for a save that is under way."""

    def after_train(self, runner: Runner) -> None:
        self._settle(runner)
        step = runner.epoch if self.by_epoch else runner.iter
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        if self._any_failure():
            save = partial(self._save_checkpoint_with_step, runner, step, meta)
            self._insist(runner, save, 60 * self.patience)
        super().after_train(runner)
        if is_main_process():
            for folder in self._local_folders(runner):
                unlock_folder(folder)

    def save_mid_epoch(self, runner: Runner) -> str:
        """Save after the current iteration, which must have taken an optimiser step.

        Call it on all processes, from ``after_train_iter``.

        Returns:
            Path of the checkpoint.

        Raises:
            OSError: on all processes, if it fails for 20 seconds.
        """
        self._save_mid_epoch(runner)
        self._settle(runner)
        if self._any_failure():
            self._insist(runner, partial(self._save_mid_epoch, runner), _SIGNAL_PATIENCE)
        return self.last_ckpt

    def _save_mid_epoch(self, runner: Runner) -> None:
        self._write(runner, self.mid_epoch_file, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        limit, former, standing = self.max_keep_ckpts, [], []
        if limit > 0:
            former = list(self.keep_ckpt_ids)
            standing = [*(s for s in former if s != step), step]
            self._keep(runner, standing)  # whoever resumes from it deletes the outdated
        if not self._write(runner, self.filename_tmpl.format(step), meta):
            if limit > 0 and not self._exists(self.filename_tmpl.format(step)):
                self._keep(runner, former)
            return
        outdated = standing[:-limit] if limit > 0 else []
        for filename in [*map(self.filename_tmpl.format, outdated), self.mid_epoch_file]:
            self._remove(self.file_backend.join_path(self.out_dir, filename))
        if limit > 0:
            self._keep(runner, standing[-limit:])

    def _keep(self, runner: Runner, steps: list[int]) -> None:
        self.keep_ckpt_ids = deque(steps)
        runner.message_hub.update_info('keep_ckpt_ids', list(steps))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        # mmengine deletes the former best before it writes the new one, under a name
        # that a shell takes apart (J&F), and ends training over a misspelt score.
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        (key,), (rule,), hub = self.key_indicators, self.rules, runner.message_hub
        if key not in metrics:
            runner.logger.warning(f'save_best={key!r} is none of the scores: {", ".join(metrics)}')
            return
        best = hub.runtime_info.get('best_score', self.init_value_map[rule])
        if not self.is_better_than[key](metrics[key], best):
            return
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        step = meta['epoch' if self.by_epoch else 'iter']
        stem = osp.splitext(self.filename_tmpl.format(step))[0]
        name = re.sub(r'[^\w.-]', '_', f'best_{key}_{stem}') + '.pth'
        former = self.best_ckpt_path
        self._set_best(runner, metrics[key], self.file_backend.join_path(self.out_dir, name))
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                save_optimizer=False,
                save_param_scheduler=False,
                meta=dict(meta),
                by_epoch=False,
                backend_args=self.backend_args,
            )
        except OSError as error:  # of the main process; what the others believe is not saved
            runner.logger.warning(f'The best checkpoint so far is not saved. {error}')
            self._set_best(runner, best, former)
            return
        runner.logger.info(f'{key} {metrics[key]:.2f} is the best so far: saved {name}')
        if self.last_ckpt is not None:  # what is resumed must know of it
            self._save_checkpoint_with_step(runner, step, meta)
        if former not in (None, self.best_ckpt_path):
            self._remove(former)

    def _set_best(self, runner: Runner, score: float, path: str | None) -> None:
        self.best_ckpt_path = path
        runner.message_hub.update_info('best_score', score)
        runner.message_hub.update_info('best_ckpt', path)

    def _local_folders(self, runner: Runner) -> set[str]:
        local = {self.out_dir} if isinstance(self.file_backend, LocalBackend) else set()
        return {runner.work_dir, *local}

    def _exists(self, filename: str) -> bool:
        try:
            return self.file_backend.isfile(self.file_backend.join_path(self.out_dir, filename))
        except OSError:
            return False

    def _remove(self, path: str) -> None:
        if not is_main_process():
            return
        try:
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
        except OSError as error:
            print_log(f'Cannot delete {path}: {error}', 'current', logging.WARNING)

    def _write(self, runner: Runner, filename: str, meta: dict) -> bool:
        """Save; False if that failed, which the main process alone knows."""
        former = self.last_ckpt
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._saved_at = time.monotonic()
        try:
            if is_main_process():
                for folder in self._local_folders(runner):
                    lock_folder(folder)  # is it still the one that this run began in?
            runner.save_checkpoint(
                self.out_dir,
                filename,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=dict(meta),
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                write_file(osp.join(runner.work_dir, 'last_checkpoint'), self.last_ckpt)
        except (OSError, UserError) as error:
            self._note_failure(runner, error, former)
            return False
        self._note_success(runner)
        return True

    def _note_success(self, runner: Runner) -> None:
        if self._failures:
            minutes = (time.monotonic() - self._failed_since) / 60
            runner.logger.warning(
                f'Saved {self.last_ckpt}, after {self._failures} failure(s) in {minutes:.1f} min.'
            )
        self._failures = 0

    def _note_failure(self, runner: Runner, error: BaseException, former: str | None) -> None:
        self.last_ckpt = former
        runner.message_hub.update_info('last_ckpt', former)
        now = time.monotonic()
        if not self._failures:
            self._failed_since = now
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        self._failures += 1
        self._retry_at = now + pause
        self._error = f'{error}. The newest checkpoint is {self._newest(runner)}'
        if self.max_keep_ckpts > 0 and getattr(error, 'errno', None) in _NO_ROOM:
            self._error += (
                f'. The folder must hold {self.max_keep_ckpts + 1} checkpoints for a moment: '
                f'max_keep_ckpts={self.max_keep_ckpts} and the new one'
            )
        runner.logger.error(
            f'NOT SAVED at iteration {runner.iter}: {self._error}. Trying again in {pause:.0f} s.'
        )

    def _newest(self, runner: Runner) -> str:
        try:
            return Path(runner.work_dir, 'last_checkpoint').read_text()
        except OSError:
            return 'none, or out of reach'

    def _any_failure(self) -> bool:
        """Whether the last save failed, on all processes."""
        failed = [self._failures > 0]
        broadcast_object_list(failed)
        return failed[0]

    def _insist(self, runner: Runner, save: Callable[[], None], seconds: float) -> None:
        """Save until it works; all processes hear of every attempt, so that none waits long.

        Raises:
            OSError: on all processes, if it does not work in that time.
        """
        start = time.monotonic()
        end = start + seconds
        while True:
            save()
            self._settle(runner)
            state = [None]
            if is_main_process() and self._failures:
                if getattr(runner.optim_wrapper, 'signal', 0):
                    end = min(end, start + _SIGNAL_PATIENCE)
                state = [(self._error, time.monotonic() >= end)]
            broadcast_object_list(state)
            if state[0] is None:
                return
            error, over = state[0]
            if over:
                raise OSError(error)
            time.sleep(_SHORT_PAUSE)
