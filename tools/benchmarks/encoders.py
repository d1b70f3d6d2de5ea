"""The encoders that are compared: ours, mmpretrain's sparse ones (SparK), dense ones."""

from importlib.util import find_spec

import mmvideomac  # noqa: F401  (before mmpretrain, whose imports it repairs)

# isort: split
import torch
from mmpretrain.models.utils.sparse_modules import SparseHelper
from mmpretrain.registry import MODELS as MMPRETRAIN
from torch import Tensor, nn

from mmvideomac.models.sparse import BACKENDS
from mmvideomac.registry import MODELS

#: Pixels along the edge of a mask patch.
PATCH = 32

#: Family -> ours, mmpretrain's for SparK, mmpretrain's dense one, and their settings.
_FAMILIES = dict(
    convnext=('SparseConvNeXt', 'SparseConvNeXt', 'ConvNeXt', {}),
    convnextv2=(
        'SparseConvNeXtV2',
        'SparseConvNeXt',
        'ConvNeXt',
        dict(use_grn=True, layer_scale_init_value=0.0),
    ),
    resnet=('SparseResNet', 'SparseResNet', 'ResNet', {}),
)


def installed_backends() -> list[str]:
    """Backends of ours that can run here, ``native`` first."""
    found = [name for name in BACKENDS if name != 'minkowski' or find_spec('MinkowskiEngine')]
    return sorted(found, key=lambda name: name != 'native')


def build_ours(name: str, backend: str = 'native') -> nn.Module:
    """Our encoder, for example ``convnextv2_tiny`` or ``resnet50``.

    Raises:
        ValueError: for an unknown encoder.
    """
    family, size = _split(name)
    return _build(MODELS, _FAMILIES[family][0], sparse_backend=backend, **size)


def build_spark(name: str) -> nn.Module:
    """mmpretrain's encoder of SparK; :func:`spark_forward` runs it."""
    family, size = _split(name)
    if family == 'resnet':
        # One process: the plain norm and the synchronised one compute the same.
        options = dict(norm_cfg=dict(type='SparseBatchNorm2d'))
    else:
        options = dict(gap_before_output=False, **_FAMILIES[family][3])
    return _build(MMPRETRAIN, f'mmpretrain.{_FAMILIES[family][1]}', **options, **size)


def build_dense(name: str) -> nn.Module:
    """mmpretrain's plain encoder, which sees the whole image."""
    family, size = _split(name)
    options = {} if family == 'resnet' else dict(gap_before_final_norm=False)
    options |= _FAMILIES[family][3]
    return _build(MMPRETRAIN, f'mmpretrain.{_FAMILIES[family][2]}', **options, **size)


def spark_forward(encoder: nn.Module, images: Tensor, mask: Tensor) -> Tensor:
    """What SparK does in each step: mask of all layers in a global, zeros in the image."""
    active = ~mask[:, None].to(images.device)
    SparseHelper._cur_active = active
    side = images.size(2) // mask.size(1)
    visible = active.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return encoder(images * visible)[-1]


def random_mask(batch: int, grid: tuple[int, int], ratio: float, seed: int) -> Tensor:
    """Random patch masks, bool (batch, *grid), True = hidden; ratio 0 hides none.

    The number kept is rounded down as in training, 12 of 49 at 0.75.

    Raises:
        ValueError: if nothing is kept.
    """
    patches = grid[0] * grid[1]
    keep = int(patches * (1 - ratio) + 1e-6)
    if keep < 1:
        raise ValueError(f'mask ratio {ratio} keeps none of {patches} patches')
    noise = torch.rand(batch, patches, generator=torch.Generator().manual_seed(seed))
    return (noise.argsort(1).argsort(1) >= keep).view(batch, *grid)


def _split(name: str) -> tuple[str, dict]:
    family, _, arch = name.partition('_')
    if family in ('convnext', 'convnextv2') and arch:
        return family, dict(arch=arch)
    if name.startswith('resnet') and name[6:].isdigit():
        return 'resnet', dict(depth=int(name[6:]))
    raise ValueError(
        f'unknown encoder {name!r}: use convnext_<size>, convnextv2_<size> (tiny, small, ...) '
        'or resnet<depth> (18, 34, 50, 101)'
    )


def _build(registry, kind: str, **options) -> nn.Module:
    # In mmpretrain's scope its sparse norms are found by name.
    scope = dict(_scope_='mmpretrain') if registry is MMPRETRAIN else {}
    return registry.build(dict(type=kind, **options, **scope))
