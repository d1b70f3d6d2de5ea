"""A config's schedules and averages for a training of another length."""

from __future__ import annotations

from mmengine.config import Config

from mmvideomac.utils.errors import UserError

#: Settings of a schedule that are points in time, and those that hold at any length.
_TIMES = ('begin', 'end', 'T_max')
_TIMELESS = (
    *('type', 'by_epoch', 'convert_to_iter_based', 'start_factor', 'end_factor'),
    *('factor', 'eta_min', 'eta_min_ratio', 'power', 'param_name'),
)


def stretch_schedules(cfg: Config, name: str, steps: int) -> None:
    """Let the schedules of ``train_cfg.max_epochs`` epochs last so many optimiser steps.

    Every part, warm-up included, keeps its share; they count steps then, not epochs.

    Args:
        cfg: Whose ``param_scheduler`` is replaced.
        name: Of the config, for messages.
        steps: Of the whole training.

    Raises:
        UserError: if a schedule goes by epochs, or has other points in time than those of
            linear and cosine ones.
    """
    epochs = cfg.train_cfg.max_epochs

    def step(epoch: float) -> int:
        # A warm-up of a single step would never leave its first learning rate.
        return epoch and max(2, round(epoch * steps / epochs))

    schedules = cfg.get('param_scheduler') or []
    for schedule in [schedules] if isinstance(schedules, dict) else schedules:
        unknown = [key for key in schedule if key not in (*_TIMES, *_TIMELESS)]
        if unknown or not schedule.get('convert_to_iter_based'):
            fault = f'its {unknown[0]}' if unknown else 'one without convert_to_iter_based'
            raise UserError(
                f'{name}: the schedule {schedule.type} cannot be stretched to {steps} optimiser '
                f'steps because of {fault}. Known are linear and cosine ones with '
                'convert_to_iter_based=True.'
            )
        begin = schedule.get('begin', 0)
        if 'T_max' in schedule:
            schedule.T_max = step(begin + schedule.T_max) - step(begin)
        for key in ('begin', 'end'):
            if key in schedule:
                schedule[key] = step(schedule[key])
        del schedule['convert_to_iter_based']
        schedule.by_epoch = False


def stretch_averages(cfg: Config, ratio: float) -> None:
    """Let EMA targets average over the same share of a training of another length.

    Args:
        cfg: Whose hooks are changed: ``momentum`` per step becomes ``momentum ** ratio``.
        ratio: Former number of optimiser steps over the new one.
    """
    for hook in [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]:
        if hook and hook.get('type') == 'EMATargetHook':
            hook.momentum = round(hook.get('momentum', 0.996) ** ratio, 8)
