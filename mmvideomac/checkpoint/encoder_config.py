"""What encoder a name or a config describes: a file's, or the one that a checkpoint holds."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.registry import MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError

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
        ValueError: if it cannot be read, or is of a project that is not there.
    """
    if meta.get('target') == 'mmpretrain' and 'encoder' in meta:  # published
        return dict(model=dict(backbone=json.loads(meta['encoder'])))
    if not isinstance(meta.get('cfg'), str):
        return None
    config = read_saved_config(meta['cfg'])
    imports = (config.get('custom_imports') or {}).get('imports') or []
    for name in [imports] if isinstance(imports, str) else imports:
        if name.startswith('projects.'):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                raise ValueError(f'it was trained with {name}, which is not here') from error
    return config


def read_saved_config(text: str) -> dict:
    """Variables of the config text that mmengine saves in a checkpoint, ``meta['cfg']``.

    It is made of literals and ``dict(...)`` calls. They are parsed, never run, since a
    checkpoint may come from anywhere; variables with anything else in them are left out.

    Raises:
        ValueError: if it is no Python.
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        raise ValueError(f'the saved config cannot be read ({error})') from error
    variables = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    variables[name] = ast.literal_eval(_DictCalls().visit(value))
                except ValueError:
                    continue
    return variables


class _DictCalls(ast.NodeTransformer):
    """``dict(a=1)`` -> ``{'a': 1}``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as display], keywords=[]):
                return display  # where a key is no identifier
            case ast.Call(func=ast.Name(id='dict'), args=[]):
                keys = [ast.Constant(keyword.arg) for keyword in node.keywords]
                return ast.Dict(keys, [keyword.value for keyword in node.keywords])
        return node
