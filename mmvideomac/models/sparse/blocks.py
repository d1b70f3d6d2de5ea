"""How blocks run: residual connections and gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch import nn
from torch.utils.checkpoint import checkpoint

from .dispatch import sparse_forward
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


def run_residual(
    block: nn.Module,
    layers: Sequence[nn.Module],
    x: VisiblePatches,
    shortcut: Sequence[nn.Module] | None,
) -> VisiblePatches:
    """``layers`` in turn, then ``block.drop_path``, added to the shortcut.

    Args:
        block (nn.Module): as for :func:`run_block`; has ``drop_path`` if there is a
            shortcut.
        layers (Sequence[nn.Module]): of the residual branch.
        x (VisiblePatches): input of the block.
        shortcut (Sequence[nn.Module] | None): layers of the shortcut, none of them
            for ``x`` itself; None if there is no shortcut.
    """

    def inner(x: VisiblePatches) -> VisiblePatches:
        y = _run(layers, x)
        if shortcut is None:
            return y
        return y.with_features(_run(shortcut, x).features + block.drop_path(y.features))

    return run_block(block, inner, x)


def _run(layers: Sequence[nn.Module], x: VisiblePatches) -> VisiblePatches:
    for layer in layers:
        x = sparse_forward(layer, x)
    return x


@contextmanager
def keep_buffers(module: nn.Module) -> Iterator[None]:
    """Put the buffers of ``module`` back on leaving.

    For gradient checkpointing, whose second forward pass would count a batch twice
    in the running statistics.
    """
    saved = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in saved:
            buffer.copy_(value)
