"""The encoders that are compared: ours, mmpretrain's sparse ones (SparK), dense ones."""

from importlib.util import find_spec

import mmvideomac  # noqa: F401  (before mmpretrain, whose imports it repairs)

# isort: split
import torch
from mmpretrain.models.utils.sparse_modules import SparseHelper
from mmpretrain.registry import MODELS as MMPRETRAIN
from torch import Tensor, nn

from mmvideomac.apis.encoders import encoder_config
from mmvideomac.models.sparse import BACKENDS
from mmvideomac.registry import MODELS

#: Pixels along the edge of a mask patch.
PATCH = 32

#: Ours -> mmpretrain's for SparK, mmpretrain's dense one, and their settings.
_PEERS = dict(
    SparseConvNeXt=('SparseConvNeXt', 'ConvNeXt', {}),
    SparseConvNeXtV2=(
        'SparseConvNeXt',
        'ConvNeXt',
        dict(use_grn=True, layer_scale_init_value=0.0),
    ),
    SparseResNet=('SparseResNet', 'ResNet', {}),
)


def installed_backends() -> list[str]:
    """Backends of ours that can run here, ``native`` first."""
    found = [name for name in BACKENDS if name != 'minkowski' or find_spec('MinkowskiEngine')]
    return sorted(found, key=lambda name: name != 'native')


def build_ours(name: str, backend: str = 'native') -> nn.Module:
    """Our encoder, for example ``convnextv2_tiny`` or ``resnet50``.

    Raises:
        ValueError: for an unknown encoder, or one that has no peers here.
    """
    kind, size = _split(name)
    return MODELS.build(dict(type=kind, sparse_backend=backend, **size))


def build_spark(name: str) -> nn.Module:
    """mmpretrain's encoder of SparK; :func:`spark_forward` runs it."""
    kind, size = _split(name)
    spark, _, options = _PEERS[kind]
    if kind == 'SparseResNet':
        # One process: the plain norm and the synchronised one compute the same.
        options = dict(norm_cfg=dict(type='SparseBatchNorm2d'))
    else:
        options = dict(gap_before_output=False, **options)
    return _build_peer(spark, **options, **size)


def build_dense(name: str) -> nn.Module:
    """mmpretrain's plain encoder, which sees the whole image."""
    kind, size = _split(name)
    _, dense, options = _PEERS[kind]
    if kind != 'SparseResNet':
        options = dict(gap_before_final_norm=False, **options)
    return _build_peer(dense, **options, **size)


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
    """Our class, and the size as all three spell it."""
    size = encoder_config(name)
    kind = size.pop('type')
    if kind not in _PEERS:
        raise ValueError(f'unknown peers of {name}: use a ConvNeXt (V1, V2) or a ResNet')
    return kind, size


def _build_peer(kind: str, **options) -> nn.Module:
    # In mmpretrain's scope its sparse norms are found by name.
    return MMPRETRAIN.build(dict(type=f'mmpretrain.{kind}', _scope_='mmpretrain', **options))
