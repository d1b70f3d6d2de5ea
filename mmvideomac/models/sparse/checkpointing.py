"""Gradient checkpointing of blocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from torch import nn
from torch.utils.checkpoint import checkpoint

from .batch_norm import keep_buffers
from .patches import VisiblePatches


def run_block(
    block: nn.Module, function: Callable[[VisiblePatches], VisiblePatches], x: VisiblePatches
) -> VisiblePatches:
    """``function(x)``, computed again in the backward pass if ``block.with_cp``.

    Args:
        block (nn.Module): block that ``function`` runs; has ``with_cp`` (bool). Its
            buffers are updated once, as without checkpointing.
        function (Callable): VisiblePatches -> VisiblePatches.
        x (VisiblePatches): input of the block.
    """
    if not (block.with_cp and x.features.requires_grad):
        return function(x)
    contexts = lambda: (nullcontext(), keep_buffers(block))  # noqa: E731
    return checkpoint(function, x, use_reentrant=False, context_fn=contexts)
