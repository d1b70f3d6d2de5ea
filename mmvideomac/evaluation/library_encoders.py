"""Encoders of timm and torchvision, by name, with the stages that label propagation takes.

The weights are the library's own, a file in its names, or as it initialises them. Stages
are counted as in the literature: stage 1 of a ConvNet has stride 4, stage 3 is ``layer3``
of a ResNet; a stem of stride 2 is none. The stages of a ViT are its blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import pairwise
from types import ModuleType

import torch
import torchvision
from mmengine.utils import digit_version
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torchvision.models import SwinTransformer

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.registry import MODELS
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.network import network_timeout

#: First parts of the names of layers that classify.
_CLASSIFIERS = ('head', 'heads', 'head_dist', 'fc', 'classifier')
_PROBE = 128  # pixels
_TIMM = '1.0.16'  # before, the stem of a ConvNeXt was among its maps


class LibraryEncoder(nn.Module):
    """A model of another library as a backbone.

    Attributes:
        library: Its name.
        model: Of the library, initialised by it.
        is_hierarchical: Whether later stages are coarser: ConvNets and Swin, not ViTs.
        out_indices: All stages, from 0.
    """

    library: str
    model: nn.Module
    is_hierarchical: bool
    out_indices: Sequence[int]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.check_name(name)
        self.name = name

    @classmethod
    def names(cls) -> list[str]:
        """Of all models of the library."""
        raise NotImplementedError

    @classmethod
    def check_name(cls, name: str) -> None:
        """Raise a UserError for a name that the library does not know, with the nearest."""
        names = cls.names()
        if name not in names:
            raise UserError(f'{cls.library} has no model {name!r}{near(name, names)}')

    @classmethod
    def has_weights(cls, name: str) -> bool:
        """Whether the library has weights for a model."""
        raise NotImplementedError

    @classmethod
    def pixels(cls, name: str) -> dict[str, list[float]]:
        """``mean`` and ``std`` of the pixels (0..255, RGB) that the library's weights are for."""
        raise NotImplementedError

    @classmethod
    def hierarchical(cls, name: str) -> bool:
        """``is_hierarchical`` of a model, without weights or memory for them."""
        raise NotImplementedError

    @property
    def spec(self) -> str:
        """Library and name, ``'timm:resnet50'``."""
        return f'{self.library}:{self.name}'

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W), normalised -> maps (B, C, H / r, W / r) of all stages."""
        outs = self.maps(x, self.out_indices)
        return tuple(outs[i] for i in self.out_indices)

    def maps(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        """Outputs (B, C, h, w) of the stages ``wanted``, counted from 0, and no further.

        Raises:
            ValueError: if the model cannot take images of that size.
        """
        with explains_size(self.spec, x):
            return self._maps(x, sorted(wanted))

    def _maps(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        raise NotImplementedError

    def stage_layers(self) -> list[list[nn.Module]] | None:
        """The layers of every stage, the stem with the first, if they only need to be chained."""
        return None

    def load_weights(self, weights: str) -> None:
        """Load all weights but those of a classifier.

        Args:
            weights: ``'pretrained'``: those that the library has for this name, downloaded; or
                a file in its names, also as DINO publishes a ViT, bare or within
                ``teacher`` or ``student``.

        Raises:
            UserError: if they cannot be downloaded.
            FileNotFoundError, ValueError: if the file does not hold this encoder.
        """
        if weights == 'pretrained':
            try:
                with network_timeout():
                    state_dict = self._download()
            except Exception as error:  # of whatever the library downloads with
                raise UserError(
                    f'the weights of {self.spec} cannot be downloaded ({_reason(error)}): give a '
                    f'file, {self.spec}:FILE, or take {self.spec}:random'
                ) from error
        else:
            state_dict = read_state_dict(weights)
        own = self.model.state_dict()
        state_dict = {
            key: value
            for key, value in state_dict.items()
            if key in own or key.split('.')[0] not in _CLASSIFIERS
        }
        load_encoder(self.model, state_dict, self.spec if weights == 'pretrained' else weights)

    def _download(self) -> Mapping[str, Tensor]:
        raise NotImplementedError


@MODELS.register_module()
class TimmEncoder(LibraryEncoder):
    """A model of timm.

    ViTs interpolate their positions as timm does it (``dynamic_img_size``).

    Args:
        name (str): as ``timm.create_model`` takes it: ``'vit_small_patch16_224.dino'``.

    Raises:
        UserError: if timm is not installed, or this version of it does not give the maps of
            the model.
    """

    library = 'timm'

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.model = self._create()
        if not hasattr(self.model, 'forward_intermediates'):
            raise UserError(
                f'timm {import_timm().__version__} does not give the maps of {name} '
                '(forward_intermediates): update timm, or take another encoder'
            )
        strides = [level['reduction'] for level in self.model.feature_info]
        self.is_hierarchical = len(set(strides)) > 1
        if self.is_hierarchical:
            last = {stride: i for i, stride in enumerate(strides) if stride >= 4}
            self._levels = list(last.values())
        else:
            self._levels = list(range(len(strides)))
        self.out_indices = range(len(self._levels))

    def _create(self, pretrained: bool = False) -> nn.Module:
        create = import_timm().create_model
        # Windowed transformers (some ignore settings that they do not know), ViTs, others.
        for settings in (dict(strict_img_size=False), dict(dynamic_img_size=True), {}):
            try:
                return create(self.name, pretrained, num_classes=0, **settings)
            except TypeError:  # the model has no such setting
                if not settings:
                    raise

    @classmethod
    def names(cls) -> list[str]:
        timm = import_timm()
        return timm.list_models() + timm.list_pretrained()

    @classmethod
    def has_weights(cls, name: str) -> bool:
        return import_timm().models.is_model_pretrained(name)

    @classmethod
    def pixels(cls, name: str) -> dict[str, list[float]]:
        config = import_timm().get_pretrained_cfg(name) or import_timm().models.PretrainedCfg()
        return _to_bytes(config.mean, config.std)

    @classmethod
    def hierarchical(cls, name: str) -> bool:
        try:
            with torch.device('meta'):
                return cls(name).is_hierarchical
        except (NotImplementedError, RuntimeError):  # asks for values while it is built
            return cls(name).is_hierarchical

    def _maps(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        levels = [self._levels[i] for i in wanted]
        run = self.model.forward_intermediates
        if self.is_hierarchical or wanted[-1] < self.out_indices[-1]:
            maps = run(x, levels, stop_early=True, intermediates_only=True)
        else:
            tokens, maps = run(x, levels)
            if tokens.ndim == 3:  # the last map after the final norm
                tokens = tokens[:, getattr(self.model, 'num_prefix_tokens', 0) :]
                maps[-1] = tokens.mT.reshape(maps[-1].shape)
        return dict(zip(wanted, maps, strict=True))

    def stage_layers(self) -> list[list[nn.Module]] | None:
        from timm.models import ConvNeXt, ResNet

        model = self.model
        if type(model) is ResNet:
            stem = [model.conv1, model.bn1, model.act1, model.maxpool]
            return [[*stem, model.layer1], [model.layer2], [model.layer3], [model.layer4]]
        if type(model) is ConvNeXt:
            first, *others = model.stages
            return [[model.stem, first], *[[stage] for stage in others]]
        return None

    def _download(self) -> Mapping[str, Tensor]:
        return self._create(pretrained=True).state_dict()


@MODELS.register_module()
class TorchvisionEncoder(LibraryEncoder):
    """A classifier of torchvision, without its last layers.

    ViTs interpolate their positions (bicubic), as mmpretrain does it.

    Args:
        name (str): as ``torchvision.models.get_model`` takes it: ``'resnet50'``.

    Raises:
        UserError: if the model is no chain of layers whose maps tile the frame.
    """

    library = 'torchvision'

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if name in ('googlenet', 'inception_v3'):  # whose weights also change the pixels
            raise UserError(f'{self.spec} cannot be taken apart: choose another encoder')
        self.model = torchvision.models.get_model(name)
        for part in _CLASSIFIERS:
            if hasattr(self.model, part):
                setattr(self.model, part, nn.Identity())
        self.is_hierarchical = self.hierarchical(name)
        if self.is_hierarchical:
            self._stages = self._by_stride()
            self.out_indices = range(len(self._stages))
        else:
            self.out_indices = range(len(self.model.encoder.layers))

    @classmethod
    def names(cls) -> list[str]:
        return torchvision.models.list_models(module=torchvision.models)

    @classmethod
    def has_weights(cls, name: str) -> bool:
        return len(torchvision.models.get_model_weights(name)) > 0

    @classmethod
    def pixels(cls, name: str) -> dict[str, list[float]]:
        if not cls.has_weights(name):
            return {}
        transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return _to_bytes(transform.mean, transform.std)

    @classmethod
    def hierarchical(cls, name: str) -> bool:
        return not name.startswith('vit_')

    def _by_stride(self) -> list[list[nn.Module]]:
        """The layers of stages: each ends with the last layer of its stride, from 4 on."""
        layers = []
        for name, child in self.model.named_children():
            if name in ('avgpool', 'norm', *_CLASSIFIERS):
                break
            layers += child if isinstance(child, (nn.Sequential, nn.ModuleList)) else [child]
        self.model.eval()
        x = torch.zeros(1, 3, _PROBE, _PROBE)
        last, maps = {}, x
        with explains_size(self.spec, x), torch.no_grad():
            for i, layer in enumerate(layers):
                maps = layer(maps)
                side = self._channels_first(maps).size(3)
                last[_PROBE / side] = i
        ends = [i + 1 for stride, i in last.items() if stride >= 4]
        if any(stride % 1 for stride in last if stride >= 4):
            raise UserError(f'the maps of {self.spec} do not tile the frame: choose another')
        return [layers[start:end] for start, end in pairwise([0, *ends])]

    def _channels_first(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2) if isinstance(self.model, SwinTransformer) else x

    def _maps(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        if not self.is_hierarchical:
            return self._blocks(x, wanted)
        outs = {}
        for i, layers in enumerate(self._stages[: wanted[-1] + 1]):
            for layer in layers:
                x = layer(x)
            if i in wanted:
                outs[i] = self._channels_first(x)
        return outs

    def _blocks(self, x: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        """Maps of the patch tokens after blocks of a ViT, the last after the final norm."""
        model, encoder = self.model, self.model.encoder
        tokens = model.conv_proj(x)
        grid = tokens.shape[2:]
        tokens = torch.cat([model.class_token.expand(len(x), -1, -1), tokens.flatten(2).mT], 1)
        side = model.image_size // model.patch_size
        tokens = tokens + resize_pos_embed(encoder.pos_embedding, (side, side), grid)
        outs = {}
        for i, block in enumerate(list(encoder.layers)[: wanted[-1] + 1]):
            tokens = block(tokens)
            if i in wanted:
                out = encoder.ln(tokens) if i == self.out_indices[-1] else tokens
                outs[i] = out[:, 1:].mT.unflatten(2, grid)
        return outs

    def stage_layers(self) -> list[list[nn.Module]] | None:
        chained = self.is_hierarchical and not isinstance(self.model, SwinTransformer)
        return self._stages if chained else None

    def _download(self) -> Mapping[str, Tensor]:
        weights = torchvision.models.get_model_weights(self.name).DEFAULT
        return weights.get_state_dict(progress=False, check_hash=True)


#: By what begins the name of an encoder.
LIBRARY_ENCODERS = {encoder.library: encoder for encoder in (TimmEncoder, TorchvisionEncoder)}


def import_timm() -> ModuleType:
    """The package timm, which nothing else needs.

    Raises:
        UserError: if it is not installed, or counts the maps of some models otherwise.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise UserError('timm is not installed: pip install timm') from None
    if digit_version(timm.__version__) < digit_version(_TIMM):
        raise UserError(f"timm {timm.__version__} is too old: pip install 'timm>={_TIMM}'")
    return timm


@contextmanager
def explains_size(name: str, x: Tensor) -> Iterator[None]:
    """Have encoders of a fixed input size say so in one message.

    Args:
        name: Of the encoder.
        x: Its input, (B, 3, H, W).

    Raises:
        ValueError: for what the encoder raises.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f'{name} cannot encode {x.size(3)}x{x.size(2)} pixels ({_reason(error)}). It must '
            'take frames of any size: choose a ConvNet, or a ViT that interpolates its positions'
        ) from error


def near(name: str, names: Sequence[str]) -> str:
    """``': do you mean a or b?'``, for messages; ``''`` if nothing is near."""
    close = [known for known in names if known.startswith(name)][:3]
    close = close or get_close_matches(name, names)
    return f': do you mean {" or ".join(close)}?' if close else ''


def _to_bytes(mean: Sequence[float], std: Sequence[float]) -> dict[str, list[float]]:
    return dict(
        mean=[round(255 * value, 3) for value in mean], std=[round(255 * value, 3) for value in std]
    )


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
