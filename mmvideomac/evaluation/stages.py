"""The stages of an encoder, and how to keep its features dense.

Later stages are too coarse to propagate labels by. Their strides can be set to 1
instead, with the weights as they are: "unit stride" as in the evaluation code of CRW
and VFS, or with all later kernels dilated ("a trous", Chen et al., "DeepLab"), where
each cell sees just what it would see in the original network.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import pairwise

import torch
from mmpretrain.models.backbones import ConvNeXt, ResNet, VisionTransformer
from torch import Tensor, nn

from mmvideomac.models.backbones.sparse_stages import SparseStages
from mmvideomac.ops import run_dense

from .library_encoders import LibraryEncoder, explains_size

_PROBE = 128  # pixels, a multiple of any stride but those of ViTs with patches of 14


class EncoderStages:
    """An encoder taken apart, to run it up to a stage and to change strides.

    The modules stay those of the encoder: its weights may be loaded later.

    Args:
        backbone: Ours, one of timm or torchvision
            (:class:`~mmvideomac.evaluation.library_encoders.LibraryEncoder`), or
            mmpretrain's ConvNeXt, ResNet, VisionTransformer and what derives from them. The
            stages of a ViT are its blocks: the map of its patch tokens, after the final norm
            for the last. Of any other backbone there are only the outputs that it gives,
            those of its ``out_indices``.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self.backbone = backbone
        self.layers = _layers(backbone)
        self._given = _out_indices(backbone)  # where its layers are not known
        self.shifts = [0.0] * len(self)
        self.strides = self._probe()

    def __len__(self) -> int:
        return len(self.layers) if self.layers else max(self._given) + 1

    def index(self, number: int) -> int:
        """Index of a stage counted from 1, or from the end: -1 is the last.

        Raises:
            ValueError: if there is no such stage, or the encoder does not give it.
        """
        name = _name(self.backbone)
        index = number - 1 if number > 0 else number + len(self)
        if not number or not 0 <= index < len(self):
            raise ValueError(f'stage {number}: {name} has the stages 1 to {len(self)}')
        if not self.strides[index]:
            given = [i + 1 for i in self._given]
            raise ValueError(
                f'stage {number}: {name} gives only {given} of its {len(self)} stages; take '
                f'one of these, or set model.backbone.out_indices=({index},)'
            )
        return index

    def run(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        """Outputs (1, C, h, w) of the stages ``wanted``, counted from 0, and no further.

        Args:
            x: (1, 3, H, W), normalised.
            wanted: At least one; see :meth:`index`.

        Raises:
            ValueError: if the encoder gives no maps.
        """
        if not self.layers:
            return self._run_backbone(x, wanted)
        outs = {}
        for stage in range(max(wanted) + 1):
            for layer in self.layers[stage]:
                x = run_dense(layer, x)
            if stage in wanted:
                norm = _output_norm(self.backbone, stage)
                outs[stage] = x if norm is None else run_dense(norm, x)
        return outs

    def _run_backbone(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        if isinstance(self.backbone, LibraryEncoder):
            return self.backbone.maps(x, wanted)
        if isinstance(self.backbone, VisionTransformer):
            return _run_blocks(self.backbone, x, wanted)
        name = _name(self.backbone)
        with explains_size(name, x):
            outs = dict(zip(self._given, self.backbone(x), strict=True))
        if any(not isinstance(out, Tensor) or out.ndim != 4 for out in outs.values()):
            raise ValueError(
                f'{name} gives no feature map. If it is a transformer, set '
                "model.backbone.out_type='featmap'"
            )
        return {stage: outs[stage] for stage in wanted}

    def _probe(self) -> list[int]:
        """Input pixels per cell of every stage; 0 of outputs that are not given."""
        backbone = self.backbone
        wanted = range(len(self)) if self.layers else self._given
        tensor = next(backbone.parameters(), torch.empty(0))
        stem = next((m for m in backbone.modules() if isinstance(m, nn.Conv2d)), None)
        size = _PROBE - _PROBE % stem.stride[0] if stem else _PROBE
        x = torch.zeros(1, 3, size, size, device=tensor.device, dtype=tensor.dtype)
        training = backbone.training
        backbone.eval()
        with torch.no_grad():
            outs = self.run(x, list(wanted))
        backbone.train(training)
        strides = [0] * len(self)
        for stage, out in outs.items():  # a shift takes as much from both sides
            strides[stage] = round((size - 2 * self.shifts[stage]) / out.size(3))
        return strides

    def set_stride(self, stride: int, dilate: bool) -> None:
        """Have no stage coarser than ``stride``, in place, by setting strides to 1.

        A kernel of even size has no middle. Merging 2x2 cells at stride 2, that of
        ConvNeXt is right in the middle of its output cell; at stride 1 it is half an input
        cell off. ``shifts`` tells by how many input pixels the cells of each stage then
        lie too far to the right and down. Odd kernels shift nothing.

        Args:
            stride: Input pixels per cell.
            dilate: Also dilate the kernels that follow, by the strides removed.

        Raises:
            ValueError: if that cannot be done in this encoder.
        """
        name = _name(self.backbone)
        if not self.layers:
            raise ValueError(
                f"the strides of {name} cannot be changed: use method='enlarged_input'"
            )
        if stride < self.strides[0]:
            raise ValueError(
                f'stride {stride} is finer than the stem of {name} (stride {self.strides[0]}): '
                "use method='enlarged_input'"
            )
        dilation, shift = 1, 0.0
        for stage, (before, after) in enumerate(pairwise([1, *self.strides])):
            removed = after // before if after > stride else 1
            modules = [m for layer in self.layers[stage] for m in layer.modules()]
            off, dilation = _remove_strides(modules, removed, dilation, dilate)
            shift += off * min(before, stride)
            self.shifts[stage] = shift
        expected = [min(native, stride) for native in self.strides]
        self.strides = self._probe()
        if self.strides != expected:
            raise ValueError(f'{name}: strides became {self.strides} instead of {expected}')


def _remove_strides(
    modules: Sequence[nn.Module], removed: int, dilation: int, dilate: bool
) -> tuple[float, int]:
    """Set the strides of a stage to 1 and dilate what comes after.

    Returns:
        How far its cells move, in cells of its input, and the dilation after it.
    """
    shift, after = 0.0, dilation
    for module in modules:
        if isinstance(module, nn.Conv2d):
            strided = removed > 1 and max(module.stride) > 1
            kernel, padding = module.kernel_size[0], module.padding[0]
            factor = dilation if strided else after
            if factor > 1 and kernel > 1:
                module.dilation = (factor, factor)
                padding *= factor
                module.padding = (padding, padding)
            if strided:
                module.stride = (1, 1)
                if kernel % 2 == 0:
                    shift = max(shift, factor * (kernel - 1) / 2 - padding)
                after = dilation * removed if dilate else 1
        elif isinstance(module, nn.AvgPool2d) and removed > 1:  # of a shortcut
            module.kernel_size, module.stride, module.padding = 1, 1, 0
    return shift, after


def _layers(backbone: nn.Module) -> list[list[nn.Module]] | None:
    """The layers of every stage, the stem with the first; None if not known."""
    if isinstance(backbone, SparseStages):
        return backbone.sparse_stages()
    if isinstance(backbone, LibraryEncoder):
        return backbone.stage_layers()
    if isinstance(backbone, ConvNeXt):
        stages = zip(backbone.downsample_layers, backbone.stages, strict=True)
        return [list(layers) for layers in stages]
    if isinstance(backbone, ResNet) and type(backbone).forward is ResNet.forward:
        stem = [backbone.stem] if backbone.deep_stem else [backbone.conv1, backbone.norm1]
        stem += [] if backbone.deep_stem else [backbone.relu]
        first, *others = [getattr(backbone, name) for name in backbone.res_layers]
        return [[*stem, backbone.maxpool, first], *[[layer] for layer in others]]
    return None


def _output_norm(backbone: nn.Module, stage: int) -> nn.Module | None:
    """The norm that a ConvNeXt puts on the output of a stage, if it was made with one."""
    if isinstance(backbone, ConvNeXt) and getattr(backbone, 'stage_norms', 'output') == 'output':
        return getattr(backbone, f'norm{stage}', None)
    return None


def _run_blocks(vit: VisionTransformer, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
    """Maps of the patch tokens after blocks, whatever else the ViT is set to return."""
    wanted, settings = sorted(wanted), (vit.out_type, vit.out_indices)
    vit.out_type, vit.out_indices = 'featmap', wanted
    # Of masked autoencoders, which mask by default.
    whole = dict(mask=None) if 'mask' in inspect.signature(vit.forward).parameters else {}
    try:
        return dict(zip(wanted, vit(x, **whole), strict=True))
    finally:
        vit.out_type, vit.out_indices = settings


def _name(backbone: nn.Module) -> str:
    """For messages."""
    return str(getattr(backbone, 'spec', type(backbone).__name__))


def _out_indices(backbone: nn.Module) -> list[int]:
    if isinstance(backbone, VisionTransformer):
        return list(range(len(backbone.layers)))
    indices = getattr(backbone, 'out_indices', (0,))
    return [indices] if isinstance(indices, int) else list(indices)
