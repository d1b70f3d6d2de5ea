"""Networks on a GPU that is not there: torch's fake tensors know device, shape and dtype alone.

An operator that would have to wait for the values of a tensor raises, and so does one whose
arguments lie on two devices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

GPU = 'cuda:0'  # with its number, or a CPU-only torch looks for a driver


class WaitingCopies(TorchDispatchMode):
    """Copies between devices that the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function.overloadpacket.__name__ in ('_to_copy', 'copy_'):
            source = args[-1] if function.overloadpacket.__name__ == 'copy_' else args[0]
            if source.device != result.device and not kwargs.get('non_blocking'):
                self.found.append(function)
        return result


aten = torch.ops.aten


def _get(x: Tensor, key) -> Tensor:
    view, indices = _view(x, key)
    return aten.index(view, indices) if indices else view


def _set(x: Tensor, key, value) -> None:
    view, indices = _view(x, key)
    value = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    if indices:
        aten.index_put_(view, indices, value)
    else:
        aten.copy_(view, value)


#: Methods of tensors that ask for a driver first, by the operators that they stand for.
_WITHOUT_DRIVER = dict(
    __getitem__=_get,
    __setitem__=_set,
    __invert__=lambda x: aten.bitwise_not(x),
    contiguous=lambda x, memory_format=torch.contiguous_format: aten.clone(
        x, memory_format=memory_format
    ),
    copy_=lambda x, source, non_blocking=False: aten.copy_(x, source, non_blocking),
    pin_memory=lambda x: x,
)


def _view(x: Tensor, key) -> tuple[Tensor, list[Tensor | None]]:
    """What the integers, slices and None of a key leave, and its tensors by dimension."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if there := [i for i, k in enumerate(keys) if k is Ellipsis]:
        used = sum(k is not None and k is not Ellipsis for k in keys)
        keys[there[0] : there[0] + 1] = [slice(None)] * (x.dim() - used)
    dim, indices = 0, []
    for k in keys:
        if k is None:
            x = x.unsqueeze(dim)
        elif isinstance(k, slice):
            x = torch.ops.aten.slice(x, dim, k.start, k.stop, k.step or 1)
        elif not isinstance(k, Tensor):
            x = x.select(dim, k)
            continue
        indices.append(k if isinstance(k, Tensor) else None)
        dim += 1
    return x, indices if any(k is not None for k in indices) else []


@contextmanager
def fake_gpu() -> Iterator[FakeTensorMode]:
    """Within it all tensors are fake; real ones are taken for fake ones on the CPU.

    Without gradients and autocast: those need a driver. The backward pass can be run on ``meta``.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.no_grad(), fake as mode, patch.multiple(Tensor, **_WITHOUT_DRIVER):
        yield mode


def on_fake_gpu(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """``module`` with all of its parameters and buffers on the GPU, in place."""

    def move(x: Tensor | None) -> Tensor | None:
        return None if x is None else mode.from_tensor(x.detach()).to(GPU)

    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(move(parameter), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = move(buffer)
    return module
