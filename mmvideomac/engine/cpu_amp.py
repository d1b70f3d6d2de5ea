"""Mixed precision on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmvideomac.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Forward passes in bfloat16, weights and their gradients in float32.

    mmengine's ``AmpOptimWrapper`` insists on a GPU. Losses are not scaled: bfloat16 has
    the range of float32. Takes the place of ``AmpOptimWrapper(dtype='bfloat16')`` on CPUs
    that multiply bfloat16 (:func:`mmvideomac.engine.launch.adapt_to_cpu`).
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
