"""Models and what wraps them."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside a DistributedDataParallel or alike; itself if not wrapped."""
    return model.module if is_model_wrapper(model) else model
