"""The encoder that a config describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.engine.config import load_config
from mmvideomac.engine.launch import LaunchError
from mmvideomac.registry import MODELS


def read_backbone(path: str | Path, options: dict | None = None) -> dict:
    """``model.backbone`` of a config file.

    Args:
        path: Of the config.
        options: Dotted key -> value, to override settings.

    Raises:
        LaunchError: if it cannot be read, or has no such entry.
    """
    model = load_config(path, options).get('model') or {}
    if 'backbone' not in model:
        raise LaunchError(f'the config {path} has no model.backbone')
    return model.backbone.to_dict()


def build_encoder(config: Mapping) -> nn.Module:
    """The encoder of ``model.backbone``, as initialised."""
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        return MODELS.build(config)
