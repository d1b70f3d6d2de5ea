"""What has to be true of the environment before OpenMMLab can run in it.

Five facts about current packages, each handled here and nowhere else:

* before torch 2.8 a process may hang for ever as it leaves a group of CPU
  processes, and before 2.6 the weights-only reader refuses checkpoints of
  mmengine whatever is allow-listed;
* the torchvision wheel cannot load its compiled part next to a CPU-only torch
  and then fails on import, taking mmengine's Runner and mmpretrain with it;
* ``torch.load`` refuses checkpoints of mmengine, whose message hub holds
  ``HistoryBuffer`` and numpy scalars;
* mmengine unpickles whatever comes from a URL;
* mmcv comes in two exclusive packages, so neither can be a hard requirement.
"""

import importlib.util
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pickle import UnpicklingError

MINIMUM_TORCH = '2.8'

_schemas = []  # keeps the torch.library handle, and with it the schemas, alive


def prepare_environment() -> None:
    """Make ``import mmpretrain`` and ``Runner.resume`` work. Idempotent.

    Raises:
        ImportError: if torch is older than :data:`MINIMUM_TORCH`, or no mmcv is installed.
    """
    _refuse_older_torch()
    _guard_torchvision()
    if importlib.util.find_spec('mmcv') is None:
        raise ImportError(
            'mmvideomac needs mmcv. Install `mmcv-lite` (seconds, enough for everything here) '
            'or the full `mmcv`, never both: pip install mmcv-lite'
        )
    # mmcv-lite says this at every import; nothing here uses those operators.
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
    _allow_mmengine_checkpoints()
    _load_urls_weights_only()


def _refuse_older_torch() -> None:
    import torch
    from mmengine.utils import digit_version

    if digit_version(torch.__version__) < digit_version(MINIMUM_TORCH):
        raise ImportError(
            f'mmvideomac needs torch {MINIMUM_TORCH} or newer, this is {torch.__version__} (it may '
            'hang after CPU processes worked together, or refuse checkpoints): '
            f"pip install --upgrade 'torch>={MINIMUM_TORCH}' torchvision"
        )


def _guard_torchvision() -> None:
    """Let a CUDA-built torchvision import next to a CPU-only torch.

    Only the exact failure is caught. Afterwards ``torchvision.ops.nms`` and the
    image codecs still raise a clear error of their own.
    """
    if 'torchvision' in sys.modules:
        return
    try:
        import torchvision
    except ImportError:
        return  # absent: mmpretrain says so itself
    except RuntimeError as error:
        if 'torchvision::nms' not in str(error):
            raise
        import torch

        for name in [m for m in sys.modules if m.split('.')[0] == 'torchvision']:
            del sys.modules[name]
        library = torch.library.Library('torchvision', 'DEF')
        library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        _schemas.append(library)
        import torchvision  # noqa: F401

        warnings.warn(
            'torchvision was built for another torch (its compiled operators cannot load, as is '
            'usual next to a CPU-only torch). mmvideomac imported it without them; it uses none. '
            'Only torchvision.ops.nms and torchvision.io codecs are unavailable.',
            stacklevel=3,
        )


def _allow_mmengine_checkpoints() -> None:
    """Allow-list what an mmengine checkpoint holds besides tensors.

    The weights-only protection of ``torch.load`` stays on.
    """
    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer
    from numpy._core import multiarray

    scalar_types = ('float64', 'float32', 'int64', 'int32', 'bool')
    # A checkpoint names numpy's internals as the numpy that saved it did: both ways.
    internals = [
        (getattr(multiarray, function), f'numpy.{core}.multiarray.{function}')
        for core in ('_core', 'core')
        for function in ('_reconstruct', 'scalar')
    ]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_buffer_method, 'builtins.getattr'),
            np.ndarray,
            np.dtype,
            *(type(np.dtype(name)) for name in scalar_types),
            *internals,
        ]
    )


def _history_buffer_method(owner: type, name: str) -> Callable:
    """Stands in for ``getattr``, by which pickles name ``HistoryBuffer``'s methods.

    The real one would let a pickle reach anything.
    """
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise UnpicklingError(f'refused to look up {name!r} of {owner!r}')


def _load_urls_weights_only() -> None:
    """Have mmengine's ``load_from`` and ``init_cfg`` run nothing that a server may send.

    It calls torch.hub, whose default is to unpickle anything.
    """
    from mmengine.runner import checkpoint

    if not isinstance(checkpoint.load_url, partial):
        checkpoint.load_url = partial(checkpoint.load_url, weights_only=True)
