"""The same network in another library.

A twin is a dense model of mmpretrain, timm or torchvision that computes what an
encoder of ours computes without a mask. Its parameters are ours by other names, so
weights go both ways without a change: no transposition, no rounding; at most axes of
length 1 come or go (a linear layer that is a 1x1 convolution elsewhere).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmpretrain.models.backbones import ConvNeXt, VisionTransformer
from torch import Tensor, nn

from mmvideomac.models.backbones.sparse_stages import SparseStages

#: Every one has a module of this package, with ``build(config, encoder)``.
LIBRARIES = ('mmpretrain', 'timm', 'torchvision')

#: Regular expression and what takes its place, as in :func:`re.sub`; applied in turn
#: to the names of parameters and of stages.
Renames = Sequence[tuple[str, str | Callable[[re.Match], str]]]

_NOT_ELSEWHERE = dict(
    official='it has the stem and the norms of the released VideoMAC code',
    fcmae='it has no norm on its output, as the released FCMAE code',
)


@dataclass(frozen=True)
class Twin:
    """A dense model and how its parts correspond to those of an encoder.

    Args:
        library: Of :data:`LIBRARIES`.
        model: Without classifier.
        recipe: Python that builds ``model``.
        names: Our parameters and buffers -> its.
        stages: Our modules -> its, whose outputs are the features, from the stem on.
        prefix: Of the names in files.
    """

    library: str
    model: nn.Module
    recipe: str
    names: Mapping[str, str]
    stages: Mapping[str, str]
    prefix: str = ''

    @classmethod
    def of(
        cls,
        encoder: nn.Module,
        model: nn.Module,
        library: str,
        recipe: str,
        renames: Renames = (),
        prefix: str = '',
    ) -> Twin:
        """Pair an encoder with a model.

        Raises:
            ValueError: if they have not the same parameters.
        """
        names = {name: _rename(name, renames) for name in encoder.state_dict()}
        own = {names[name]: value for name, value in encoder.state_dict().items()}
        if differences := describe_differences(own, model.state_dict()):
            raise ValueError(
                f'{library} has no form of this encoder: compared with {recipe}, it {differences}'
            )
        stages = {name: _rename(name, renames) for name in _stages(encoder)}
        return cls(library, model, recipe, names, stages, prefix)

    def load_encoder(self, encoder: nn.Module) -> None:
        """Give the model the weights of the encoder."""
        ours, theirs = encoder.state_dict(), self.model.state_dict()
        _copy({self.names[name]: value for name, value in ours.items()}, theirs)

    def load_into(self, encoder: nn.Module) -> None:
        """Give the encoder the weights of the model."""
        ours, theirs = encoder.state_dict(), self.model.state_dict()
        _copy({name: theirs[self.names[name]] for name in ours}, ours)

    def load(self, state_dict: Mapping[str, Tensor], source: str) -> None:
        """Give the model weights of its own library; those of classifiers are left out.

        Args:
            state_dict: By the names of the library's files.
            source: What it is from, for the message.

        Raises:
            ValueError: if they are of another model.
        """
        own = self.model.state_dict()
        given = {
            name.removeprefix(self.prefix): value
            for name, value in state_dict.items()
            if name.startswith(self.prefix)
        }
        heads = ('head.', 'fc.', 'classifier.')
        given = {k: v for k, v in given.items() if k in own or not k.startswith(heads)}
        if differences := describe_differences(given, own):
            raise ValueError(
                f'{source} does not hold the encoder of the config: compared with {self.recipe}, '
                f'it {differences}'
            )
        _copy(given, own)

    def state_dict(self) -> dict[str, Tensor]:
        """The weights of the model by the names of the library's files."""
        own = self.model.state_dict()
        return {self.prefix + name: value.contiguous() for name, value in own.items()}


def build_twin(library: str, config: Mapping, encoder: nn.Module) -> Twin:
    """The twin of an encoder, with weights of its own.

    Args:
        library: Of :data:`LIBRARIES`.
        config: Of the encoder, ``model.backbone``.
        encoder: What was built from it.

    Raises:
        ValueError: if the library has no such network, or is not installed.
    """
    if not isinstance(encoder, (SparseStages, VisionTransformer)):
        raise ValueError(f'{type(encoder).__name__} is no encoder of mmvideomac')
    try:
        module = importlib.import_module(f'{__package__}.{library}')
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ValueError(f'{library} is not installed: pip install {library}') from None
    return module.build(config, encoder)


def refuse_presets(library: str, config: Mapping, known: Sequence[str] = ()) -> None:
    """Raise a ValueError for presets that are not the architecture of the papers.

    Args:
        library: For the message.
        config: Of the encoder.
        known: Presets that the library can represent all the same.
    """
    preset = config.get('preset', 'standard')
    if preset in _NOT_ELSEWHERE and preset not in known:
        raise ValueError(
            f'{library} has no form of preset={preset!r}: {_NOT_ELSEWHERE[preset]}. Use '
            f'{config["type"]} itself: it is a backbone for any OpenMMLab model, and takes the '
            'checkpoint as it is'
        )


def describe_differences(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What ``given`` lacks and has instead, axes of length 1 apart; ``''`` if nothing."""
    shapes = [
        f'{name} {tuple(given[name].shape)} for {tuple(wanted[name].shape)}'
        for name in wanted
        if name in given and _core_shape(given[name]) != _core_shape(wanted[name])
    ]
    missing = [name for name in wanted if name not in given]
    more = [name for name in given if name not in wanted]
    parts = []
    for label, names in (('lacks', missing), ('also has', more), ('has in other shapes', shapes)):
        if names:
            listed = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
            parts.append(f'{label} {listed} ({len(names)})')
    return '; '.join(parts)


def _core_shape(tensor: Tensor) -> list[int]:
    return [length for length in tensor.shape if length != 1]


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], destination: Mapping[str, Tensor]) -> None:
    for name, tensor in destination.items():
        tensor.copy_(source[name].reshape(tensor.shape))


def _rename(name: str, renames: Renames) -> str:
    for pattern, replacement in renames:
        name = re.sub(pattern, replacement, name)
    return name


def _stages(encoder: nn.Module) -> list[str]:
    """Names of the modules whose outputs are the features, from the stem on."""
    if isinstance(encoder, VisionTransformer):
        blocks = [f'layers.{i}' for i in range(len(encoder.layers))]
        return blocks + (['ln1'] if encoder.final_norm else [])
    if isinstance(encoder, ConvNeXt):
        stages = [f'stages.{i}' for i in range(len(encoder.stages))]
        norms = [f'norm{i}' for i in encoder.out_indices]
        return stages + [name for name in norms if hasattr(encoder, name)]
    names = {module: name for name, module in encoder.named_modules()}
    return [names[layers[-1]] for layers in encoder.sparse_stages()]
