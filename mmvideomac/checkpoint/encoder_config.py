"""What encoder a config describes: a file's, or the one that a checkpoint was trained with."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.registry import MODELS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError


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
