"""Any encoder for label propagation, by one string.

* ``CHECKPOINT``: one of ours, whose config is inside.
* ``WEIGHTS``: a name of weights in the model index, ``convnextv2_tiny_fcmae`` or
  ``mmvideomac://convnextv2_tiny_fcmae``, which are downloaded once.
* ``CONFIG:CHECKPOINT`` and ``CONFIG:random``: the encoder of a config of pre-training, or of one
  of ``configs/benchmarks/``: a file, or ``mmvideomac::videomac_cnxv2s_yt18.py``.
* ``NAME:CHECKPOINT`` and ``NAME:random``: one of :func:`mmvideomac.list_encoders`.
* ``timm:NAME``, ``torchvision:NAME``, ``mmpretrain:NAME`` (also a config file): with the
  library's own weights, which are downloaded; ``...:FILE``: with those of a file in the
  library's names; ``...:random``: as the library initialises it.
* ``color``: no encoder, mean colours.

Each may end in settings of the features, and a name for tables:
``@stage=3,stride=8,stride_method=resample,network=target,name=LABEL``. Stages are counted
from 1, those of a ViT are its blocks; -1 is the last, and 2+3 are both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmpretrain.apis import list_models
from mmpretrain.apis.model import ModelHub
from mmpretrain.models.backbones import ConvNeXt, ResNet, VisionTransformer

from mmvideomac.checkpoint.encoder_config import encoder_configs, saved_config
from mmvideomac.checkpoint.files import SCHEME, is_complete, read_meta
from mmvideomac.checkpoint.model_index import find_weights, is_in_index, named_weights
from mmvideomac.registry import MODELS
from mmvideomac.utils.config import PREFIX, find_config, load_config
from mmvideomac.utils.errors import UserError

from .benchmark import encoder_settings
from .features import STRIDE_METHODS
from .library_encoders import LIBRARY_ENCODERS, near

#: What a spec may say of the features.
OPTIONS = ('stage', 'stride', 'stride_method', 'network', 'name')

_LIBRARIES = ('timm', 'torchvision', 'mmpretrain')
_OPTIONS = re.compile(r'(.*)@((?:[a-z_]+=[^,@]*)(?:,[a-z_]+=[^,@]*)*)')
_CONFIG = re.compile(r'(.+\.py)(?::(.+))?')


@dataclass(frozen=True)
class EncoderSource:
    """An encoder as label propagation takes it.

    A tool's settings for all encoders go through :meth:`with_defaults`, which knows those that
    make no sense for this one.

    Attributes:
        spec: As the user gave it.
        name: For tables; see :func:`unique_names`.
        model: What this encoder decides of ``LabelPropagation``: ``backbone`` (none for
            ``color``); ``mean`` and ``std`` where known; ``stage``, ``stride``,
            ``stride_method`` and ``network`` where the spec or the kind of encoder says
            them. Of a ViT that is the last block at its own stride (None).
        weights: For :func:`~mmvideomac.evaluation.benchmark.evaluate`: ``'random'``,
            ``'color'``, ``'pretrained'``, or path or URL of a checkpoint.
        checkpoint: File of pre-training, None if there is none.
        is_hierarchical: Whether later stages are coarser (ConvNets); a ViT has blocks, and its
            stage is a block.
        given: Keys of ``model`` that the spec itself says.
    """

    spec: str
    name: str
    model: dict
    weights: str
    checkpoint: str | None = None
    is_hierarchical: bool = True
    given: tuple[str, ...] = ()

    def with_defaults(self, **settings) -> EncoderSource:
        """This encoder with the settings of a tool where its spec does not say its own.

        Args:
            **settings: ``stage``, ``stride``, ``stride_method``, ``network``; None for what
                the tool was not told. ``stage`` is left out of ViTs, whose blocks it would
                count.
        """
        own = self.given if self.is_hierarchical else (*self.given, 'stage')
        return self._updated({k: v for k, v in settings.items() if v is not None and k not in own})

    def changed(self, **settings) -> EncoderSource:
        """This encoder with settings in place of its own; None leaves one as it is."""
        return self._updated({k: v for k, v in settings.items() if v is not None})

    @property
    def full_spec(self) -> str:
        """A spec of this encoder with all of its settings, wherever they came from."""
        text, _ = _split_options(self.spec)
        values = {key: self.model.get(key) for key in OPTIONS if key != 'name'}
        written = [
            f'{key}={"+".join(map(str, value)) if isinstance(value, list | tuple) else value}'
            for key, value in values.items()
            if value is not None
        ]
        return f'{text}@{",".join(written)}' if written else text

    def _updated(self, settings: Mapping) -> EncoderSource:
        model = {**self.model, **settings}
        if 'stride' in settings and 'stride_method' not in (*settings, *self.given):
            model = {k: v for k, v in model.items() if (k, v) != ('stride_method', 'native')}
        return replace(self, model=model)


def parse_encoder(spec: str) -> EncoderSource:
    """What encoder a spec names. Files are checked to exist; no weights are read.

    Args:
        spec: See :mod:`~mmvideomac.evaluation.encoder_sources`.

    Raises:
        UserError: in one message, if there is no such encoder, file or setting.
    """
    text, options = _split_options(spec)
    try:
        source = _parse(text)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    name = options.pop('name', source.name)
    if text == 'color' and (useless := sorted(options.keys() - {'stride'})):
        raise UserError(f'{spec}: colours have no {useless[0]}, only a stride')
    return replace(source._updated(options), spec=spec, name=name, given=tuple(options))


def unique_names(sources: Sequence[EncoderSource]) -> list[EncoderSource]:
    """The same encoders, each with a name of its own.

    Of those with equal names the paths are given as far as tells them apart, else their
    settings.

    Raises:
        UserError: if two are the same, or have the same label.
    """
    sources = list(sources)
    longest = max((source.spec.count('/') for source in sources), default=0) + 1
    forms = [lambda spec, n=n: _short(_split_options(spec)[0], n) for n in range(1, longest + 1)]
    for form in [*forms, lambda spec: spec]:
        names = [source.name for source in sources]
        for i, source in enumerate(sources):
            if names.count(source.name) > 1 and 'name' not in _split_options(source.spec)[1]:
                sources[i] = replace(source, name=form(source.spec))
    names = [source.name for source in sources]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f'{twice[0]} is given twice: tell them apart by ...@name=LABEL')
    return sources


def _split_options(spec: str) -> tuple[str, dict]:
    match = _OPTIONS.fullmatch(spec)
    if match is None:
        return spec, {}
    options = {}
    for item in match[2].split(','):
        key, _, value = item.partition('=')
        if key not in OPTIONS:
            raise UserError(
                f'{spec}: unknown setting {key!r}{near(key, OPTIONS)}; there are '
                f'{", ".join(OPTIONS)}'
            )
        options[key] = _option(spec, key, value)
    return match[1], options


def _option(spec: str, key: str, value: str) -> str | int | list[int]:
    choices = dict(stride_method=STRIDE_METHODS, network=('online', 'target')).get(key)
    if choices and value not in choices:
        raise UserError(f'{spec}: {key} must be one of {", ".join(choices)}')
    if key == 'stage' and re.fullmatch(r'-?\d+(\+-?\d+)*', value):
        stages = [int(number) for number in value.split('+')]
        return stages if len(stages) > 1 else stages[0]
    if key == 'stride' and re.fullmatch(r'[1-9]\d*', value):
        return int(value)
    if key in ('stage', 'stride') or not value:
        example = dict(stage='3 or 2+3', stride='8 (pixels)').get(key, 'a name')
        raise UserError(f'{spec}: {key} must be {example}, not {value!r}')
    return value


def _parse(text: str) -> EncoderSource:
    library, _, rest = text.partition(':')
    if text.startswith(SCHEME) or is_in_index(text):
        return _of_named_weights(text)
    if text == 'color':
        return EncoderSource(text, text, {}, 'color')
    if library in _LIBRARIES:
        name, _, weights = rest.partition(':')
        if library == 'mmpretrain':
            return _of_mmpretrain(text, name, weights)
        return _of_library(text, library, name, weights)
    if text.startswith(PREFIX):
        config, _, weights = text.removeprefix(PREFIX).partition(':')
        return _of_config(text, find_config(PREFIX + config), weights)
    if match := _CONFIG.fullmatch(text):
        return _of_config(text, match[1], match[2])
    names = encoder_configs()
    if library in names:
        return _of_ours(text, dict(backbone=names[library]), rest)
    if Path(text).is_file() or is_complete(text):  # or a folder, see checkpoint/sharded.py
        return _of_checkpoint(text)
    if '://' in text:
        raise UserError(f'{text}: of a URL the config is needed too: CONFIG:{text}')
    if '/' in text or Path(text).suffix in ('.pth', '.pt', '.safetensors'):
        raise UserError(f'the checkpoint {text} does not exist')
    close = near(library, [*names, *named_weights(), *_LIBRARIES, 'color'])
    raise UserError(
        f'unknown encoder {text!r}{close or ":"} Give a checkpoint, weights of the model index, '
        'CONFIG:CHECKPOINT, CONFIG:random, timm:NAME, torchvision:NAME, mmpretrain:NAME, a name '
        'of mmvideomac.list_encoders(), or color'
    )


def _of_named_weights(text: str) -> EncoderSource:
    weights = find_weights(text)
    if weights.encoder is None:
        model = _settings(load_config(weights.config), weights.name)
    else:
        model = dict(backbone=weights.encoder)
    return replace(_source(text, model, weights.address), name=weights.name)


def _of_library(text: str, library: str, name: str, weights: str) -> EncoderSource:
    encoder = LIBRARY_ENCODERS[library]
    encoder.check_name(name)
    if not weights and not encoder.has_weights(name):
        raise UserError(f'{library} has no weights of {name}: give {text}:FILE or {text}:random')
    model = dict(backbone=dict(type=encoder.__name__, name=name), **encoder.pixels(name))
    return _source(
        text, model, _checked(weights) if weights else 'pretrained', encoder.hierarchical(name)
    )


def _of_mmpretrain(text: str, name: str, weights: str) -> EncoderSource:
    """A model of mmpretrain's index, or a config file of its."""
    if name.endswith('.py'):
        config, url = load_config(name), None
    else:
        if name.lower() not in (names := list_models()):
            raise UserError(f'mmpretrain has no model {name!r}{near(name, names)}')
        entry = ModelHub.get(name)
        config, url = entry.config, entry.weights
    if not weights and url is None:
        raise UserError(f'mmpretrain has no weights of {name}: give {text}:FILE or {text}:random')
    model = _settings(config, name)
    pixels = config.model.get('data_preprocessor') or config.get('data_preprocessor') or {}
    if 'mean' in pixels and not (pixels.get('to_rgb') or pixels.get('bgr_to_rgb')):
        model['bgr'] = True
    backbone = model['backbone']
    init = backbone.get('init_cfg')
    if isinstance(init, dict) and init.get('type') == 'Pretrained':
        del backbone['init_cfg']  # else 'random' would load it
    kind = _class_of(backbone, name)
    if not issubclass(kind, (ConvNeXt, VisionTransformer)):
        if issubclass(kind, ResNet):
            backbone['out_indices'] = (0, 1, 2, 3)
        elif 'featmap' in getattr(kind, 'OUT_TYPES', ()):
            backbone['out_type'] = 'featmap'
    return _source(text, model, _checked(weights) if weights else url)


def _of_config(text: str, path: str | Path, weights: str | None) -> EncoderSource:
    config = load_config(path)
    return _of_ours(text, _settings(config, str(path)), weights)


def _of_ours(text: str, model: dict, weights: str | None) -> EncoderSource:
    if not weights:
        raise UserError(f'{text}: give the weights too, {text}:CHECKPOINT or {text}:random')
    checkpoint = None if weights == 'random' else _checked(weights)
    return replace(_source(text, model, checkpoint or 'random'), checkpoint=checkpoint)


def _of_checkpoint(path: str) -> EncoderSource:
    meta = read_meta(_checked(path))
    try:
        config = saved_config(meta)
    except ValueError as error:
        raise UserError(f'{path}: {error}') from error
    if config is None:
        raise UserError(
            f'{path} holds no config to build its encoder from: give CONFIG:{path}, or, of a '
            f'model of a library, timm:NAME:{path}'
        )
    return replace(_source(path, _settings(config, path), path), checkpoint=path)


def _source(
    text: str, model: dict, weights: str, is_hierarchical: bool | None = None
) -> EncoderSource:
    """A source with what the kind of its encoder implies."""
    if is_hierarchical is None:
        is_hierarchical = not issubclass(_class_of(model['backbone'], text), VisionTransformer)
    if not is_hierarchical:
        model = dict(stage=-1, stride=None, stride_method='native') | model
    return EncoderSource(text, _short(text), model, weights, None, is_hierarchical)


def _settings(config: Mapping, name: str) -> dict:
    model = encoder_settings(config, name)
    return {k: v.to_dict() if isinstance(v, ConfigDict) else v for k, v in model.items()}


def _class_of(backbone: Mapping, name: str) -> type:
    kind = backbone.get('type')
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if kind is None:
        raise UserError(f'{name}: the encoder {backbone.get("type")} is not known here')
    return kind


def _checked(weights: str) -> str:
    """The same, if it is a baseline, a URL or a complete file."""
    if weights == 'random' or '://' in weights:
        return weights
    if not Path(weights).exists():
        raise UserError(f'the checkpoint {weights} does not exist')
    if not is_complete(weights):
        raise UserError(f'the checkpoint {weights} is incomplete (was the disk full?)')
    return weights


def _short(text: str, length: int = 1) -> str:
    """A spec with the last ``length`` parts of the paths in it."""
    return ':'.join('/'.join(part.split('/')[-length:]) for part in text.split(':'))
