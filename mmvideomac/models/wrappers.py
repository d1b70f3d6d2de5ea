"""What a model may be wrapped in, and what is inside."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside a DistributedDataParallel or alike; itself if not wrapped."""
    return model.module if is_model_wrapper(model) else model


# In mmengine's own registry: Runner looks there alone.
@MODEL_WRAPPERS.register_module()
class Replica(nn.Module):
    """One process's copy of a model that is evaluated, not trained.

    Unlike DistributedDataParallel it exchanges nothing, and hence takes a model without
    parameters and needs no GPU.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def test_step(self, data: dict) -> list:
        """As of the model."""
        return self.module.test_step(data)
