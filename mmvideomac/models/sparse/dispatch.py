"""How a layer finds the function that runs it on visible patches.

:func:`sparse_forward` looks a module's type up, nearest ancestor first. A layer
nobody registered refuses by name rather than silently mixing masked sites in. A new
family registers its blocks with :func:`register_sparse`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from .patches import VisiblePatches

_HANDLERS: dict[type, Callable[[nn.Module, VisiblePatches], VisiblePatches]] = {}
_observers: list[Callable[[nn.Module, VisiblePatches], None]] = []


def register_sparse(*types: type[nn.Module]) -> Callable:
    """Decorator: run layers of these types by this function.

    Subclasses too, unless they override ``forward``: such a class computes
    something else, and refuses until it is registered. The function takes
    ``(module, x: VisiblePatches)`` and returns VisiblePatches.
    """

    def register(function: Callable) -> Callable:
        _HANDLERS.update(dict.fromkeys(types, function))
        return function

    return register


def sparse_forward(module: nn.Module, x: VisiblePatches) -> VisiblePatches:
    """Run ``module`` on visible patches.

    Raises:
        TypeError: for a layer with no sparse implementation.
    """
    # Not functools.singledispatch: torch.compile cannot trace it.
    for ancestor in type(module).__mro__:
        if ancestor in _HANDLERS:
            if type(module).forward is not ancestor.forward:
                break
            y = _HANDLERS[ancestor](module, x)
            for observe in _observers:
                observe(module, y)
            return y
    raise TypeError(
        f'{type(module).__module__}.{type(module).__name__} has no implementation on visible '
        'patches, and running it densely would leak masked content. Register one with '
        'mmvideomac.models.sparse.register_sparse.'
    )


@contextmanager
def observe_layers(observe: Callable[[nn.Module, VisiblePatches], None]) -> Iterator[None]:
    """Call ``observe(module, output)`` after every layer that runs on visible patches.

    Forward hooks of torch see few of them: most layers are not called as modules there.
    """
    _observers.append(observe)
    try:
        yield
    finally:
        _observers.remove(observe)
