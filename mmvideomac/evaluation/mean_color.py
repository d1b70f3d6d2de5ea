"""The baseline of all encoders: no encoder."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmvideomac.registry import MODELS


@MODELS.register_module()
class MeanColor(BaseModule):
    """The mean colour of each cell.

    Args:
        stride (int): side of a cell, in pixels.
    """

    out_indices = (0,)

    def __init__(self, stride: int = 8) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) -> one map (B, 3, H / stride, W / stride)."""
        return (F.avg_pool2d(x, self.stride),)
