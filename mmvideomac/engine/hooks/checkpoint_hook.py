"""Checkpoints that survive a crash, a full disk and a wrong path."""

import os.path as osp
import re
import time
from collections import deque

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

from mmvideomac.checkpoint.loading import load_state_dict_strictly
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS
from mmvideomac.utils.files import remove_unfinished, write_file

from ..optim_steps import accumulated_iterations, ends_optim_step


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, without its ways to lose a run.

    * A file appears under its name only when it is complete, and outdated files
      are deleted only after that; ``last_checkpoint`` is written likewise. What a
      killed run left unfinished is removed before training.
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
        backend_args: As in mmengine; by default local files, written by rename.
        **kwargs: As in :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ValueError: if ``save_best`` names several scores; before training, if nothing
            gives a score.
    """

    #: The one rolling checkpoint written inside an epoch.
    mid_epoch_file = 'mid_epoch.pth'

    # Scores of which more is better, for `save_best` without `rule`.
    _default_greater_keys = [*CheckpointHook._default_greater_keys, 'J&F', 'PCK']

    def __init__(
        self, *args, minutes: float | None = None, backend_args: dict | None = None, **kwargs
    ) -> None:
        backend_args = backend_args or dict(backend='atomic_local')
        super().__init__(*args, backend_args=backend_args, **kwargs)
        if self.save_best and len(self.save_best) > 1:
            raise ValueError(f'save_best={self.save_best}: the best is kept by one score')
        self.minutes = minutes

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
            for folder in {self.out_dir, runner.work_dir}:
                remove_unfinished(folder)
        self._saved_at = time.monotonic()
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
        return self.minutes is not None and time.monotonic() - self._saved_at >= 60 * self.minutes

    def save_mid_epoch(self, runner: Runner) -> str:
        """Save after the current iteration, which must have taken an optimiser step.

        Call it from ``after_train_iter``.

        Returns:
            Path of the checkpoint.
        """
        self._save_mid_epoch(runner)
        return self.last_ckpt

    def _save_mid_epoch(self, runner: Runner) -> None:
        self._write(runner, self.mid_epoch_file, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0:
            kept = [*(s for s in self.keep_ckpt_ids if s != step), step]
            outdated, kept = kept[: -self.max_keep_ckpts], kept[-self.max_keep_ckpts :]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        self._write(runner, self.filename_tmpl.format(step), meta)
        for filename in [*map(self.filename_tmpl.format, outdated), self.mid_epoch_file]:
            self._remove(self.file_backend.join_path(self.out_dir, filename))

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
        self.best_ckpt_path = self.file_backend.join_path(self.out_dir, name)
        hub.update_info('best_score', metrics[key])
        hub.update_info('best_ckpt', self.best_ckpt_path)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=False,
            save_param_scheduler=False,
            meta=dict(meta),
            by_epoch=False,
            backend_args=self.backend_args,
        )
        runner.logger.info(f'{key} {metrics[key]:.2f} is the best so far: saved {name}')
        if self.last_ckpt is not None:  # what is resumed must know of it
            self._save_checkpoint_with_step(runner, step, meta)
        if former not in (None, self.best_ckpt_path):
            self._remove(former)

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)

    def _write(self, runner: Runner, filename: str, meta: dict) -> None:
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_file(osp.join(runner.work_dir, 'last_checkpoint'), self.last_ckpt)
        self._saved_at = time.monotonic()
