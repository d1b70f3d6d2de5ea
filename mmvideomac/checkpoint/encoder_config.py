"""What encoder a name or a config describes: a file's, or the one that a checkpoint holds."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.registry import MODELS, WEIGHT_INITIALIZERS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.untrusted import CONFIG_BYTES

from .model_index import named_weights


def read_backbone(path: str | Path, options: dict | None = None) -> dict:
    """``model.backbone`` of a config file.

    Args:
        path: Of the config.
        options: Dotted key -> value, to override settings.

    Raises:
        UserError: if it cannot be read, or has no such entry.
    """
    model = load_config(path, options).get('model') or {}
    if 'backbone' not in model:
        raise UserError(f'the config {path} has no model.backbone')
    return model.backbone.to_dict()


def build_encoder(config: Mapping) -> nn.Module:
    """The encoder of ``model.backbone``, as initialised."""
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        return MODELS.build(config)


def encoder_config(name: str) -> dict:
    """``model.backbone`` of an encoder by name.

    Raises:
        ValueError: for an unknown one.
    """
    configs = encoder_configs()
    if name not in configs:
        close = get_close_matches(name, [*configs, *named_weights()])
        advice = f'do you mean {" or ".join(close)}?' if close else f'choose from {list(configs)}'
        raise ValueError(f'unknown encoder {name!r}; {advice}')
    return configs[name]


def encoder_configs() -> dict[str, dict]:
    """Name -> config, families in the order of registration, sizes in that of their table."""
    configs = {}
    for kind, encoder in MODELS.module_dict.items():
        if (
            not hasattr(encoder, 'arch_settings')
            or 'mask' not in inspect.signature(encoder.forward).parameters
        ):
            continue
        family = kind.removeprefix('Sparse').lower()
        for arch in encoder.arch_settings:
            if isinstance(arch, int):
                configs[f'{family}{arch}'] = dict(type=kind, depth=arch)
            else:  # 'regnetx_400mf' names its family itself
                name = arch if arch.startswith(family) else f'{family}_{arch}'
                configs[name] = dict(type=kind, arch=arch)
    return configs


def saved_config(meta: Mapping) -> dict | None:
    """The config that a checkpoint holds; of a published encoder ``model.backbone`` alone.

    Components of ``projects`` that it needs are imported, nothing else.

    Args:
        meta: Of :func:`~mmvideomac.checkpoint.files.read_checkpoint`.

    Returns:
        None if there is none.

    Raises:
        ValueError: if it cannot be read, is of a project that is not there, or its backbone
            names anything but registered parts of networks, which could run any code.
    """
    if meta.get('target') == 'mmpretrain' and isinstance(meta.get('encoder'), str):  # published
        config = dict(model=dict(backbone=_read_json(meta['encoder'])))
    elif isinstance(meta.get('cfg'), str):
        config = read_saved_config(meta['cfg'])
    else:
        return None
    model = config.get('model') or {}
    if not (isinstance(model, dict) and isinstance(model.get('backbone', {}), dict)):
        raise ValueError('its model is no set of settings')
    _import_projects(config.get('custom_imports'))
    _refuse_code(model.get('backbone'))  # all that is built of it
    return config


def _read_json(text: str) -> object:
    CONFIG_BYTES.check(len(text))
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError('its settings are nested too deeply') from error


def _import_projects(custom_imports: object) -> None:
    imports = custom_imports.get('imports') if isinstance(custom_imports, dict) else None
    for name in [imports] if isinstance(imports, str) else imports or []:
        if isinstance(name, str) and re.fullmatch(r'projects(\.\w+)+', name):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                raise ValueError(f'it was trained with {name}, which is not here') from error


def _refuse_code(settings: object) -> None:
    """Raise ValueError for a ``type`` that is no registered part of a network.

    mmengine's registries take any other for the name of code to import, and call it:
    ``dict(type='subprocess.Popen', args=...)``.
    """
    if isinstance(settings, dict):
        if 'type' in settings and not _is_registered(settings['type']):
            raise ValueError(
                f'its settings name {settings["type"]!r}, which is no part of a network that is '
                'known here: if it is of another package, import that first'
            )
        settings = list(settings.values())
    for value in settings if isinstance(settings, list | tuple) else ():
        _refuse_code(value)


def _is_registered(name: object) -> bool:
    scope, _, key = name.rpartition('.') if isinstance(name, str) else ('', '', None)
    for registry in (MODELS, WEIGHT_INITIALIZERS):
        root = registry._get_root_registry()
        for place in (registry, registry.parent, root, *root.children.values()):
            if scope in ('', place.scope):
                place.import_from_location()
                # No function: those of Hugging Face models run what they download.
                if inspect.isclass(place.module_dict.get(key)):
                    return True
    return False


def read_saved_config(text: str) -> dict:
    """Variables of the config text that mmengine saves in a checkpoint, ``meta['cfg']``.

    It is made of literals and ``dict(...)`` calls. They are parsed, never run, since a
    checkpoint may come from anywhere; variables with anything else in them are left out.

    Raises:
        ValueError: if it is no Python, or too much of it.
    """
    CONFIG_BYTES.check(len(text))
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'the saved config cannot be read ({error})') from error
    variables = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    variables[name] = ast.literal_eval(_DictCalls().visit(value))
                except (ValueError, TypeError, RecursionError, MemoryError):
                    continue
    return variables


class _DictCalls(ast.NodeTransformer):
    """``dict(a=1)`` -> ``{'a': 1}``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as display], keywords=[]):
                return display  # where a key is no identifier
            case ast.Call(func=ast.Name(id='dict'), args=[]) if all(k.arg for k in node.keywords):
                keys = [ast.Constant(keyword.arg) for keyword in node.keywords]
                return ast.Dict(keys, [keyword.value for keyword in node.keywords])
        return node
