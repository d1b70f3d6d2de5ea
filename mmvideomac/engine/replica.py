"""Evaluation on several processes."""

from mmengine.registry import MODEL_WRAPPERS
from torch import nn


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
