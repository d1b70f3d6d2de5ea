"""What a GPU with too little memory means for the settings of a training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config

from mmvideomac.utils.errors import UserError

_GIB = 2**30
_ASKED = re.compile(r'Tried to allocate ([\d.]+) (\w+)')
_UNITS = dict(bytes=1, KiB=2**10, MiB=2**20, GiB=_GIB)


@contextmanager
def explains_gpu_memory(cfg: Config) -> Iterator[None]:
    """Tell by how much the memory of a GPU does not do, and which settings to lower.

    Args:
        cfg: Of the training that runs within.

    Raises:
        UserError: instead of ``torch.OutOfMemoryError``.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(_explanation(cfg, str(error))) from error


def _explanation(cfg: Config, message: str) -> str:
    free, total = torch.cuda.mem_get_info()
    held = torch.cuda.memory_allocated()
    others = total - free - torch.cuda.memory_reserved()
    lacking = ''
    if found := _ASKED.search(message):
        asked = float(found[1]) * _UNITS.get(found[2], 1)
        lacking = f' {max(asked - free, 0) / _GIB:.2f} GiB more are needed at least.'
    batch = cfg.train_dataloader.batch_size
    advice = ['use model.backbone.with_cp=True (a slower step that keeps fewer features)']
    if batch > 1:
        text = f'lower train_dataloader.batch_size from {batch}, to {batch // 2} for example'
        if cfg.get('total_batch_size'):
            text += ' (gradients are then accumulated: a step stays as large, and the result)'
        advice.insert(0, text)
    if 'Amp' not in cfg.optim_wrapper.get('type', ''):
        advice.append('train in mixed precision (--amp)')
    return (
        f'Too little GPU memory: of {total / _GIB:.1f} GiB the training holds {held / _GIB:.1f}, '
        f'other programs {max(others, 0) / _GIB:.1f}.{lacking} Either ' + ', or '.join(advice) + '.'
    )
