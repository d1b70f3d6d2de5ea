"""An encoder that the package does not know, as that of a project."""

import os
from multiprocessing import parent_process

from mmengine.model import BaseModule
from torch import nn

from mmvideomac.registry import MODELS


@MODELS.register_module()
class OutsideEncoder(BaseModule):
    """One convolution.

    Args:
        deadly: Ends a process that was started by another, as the kernel does without memory.
    """

    out_indices = (0,)

    def __init__(self, deadly=False):
        super().__init__(init_cfg=dict(type='Normal', layer='Conv2d', std=1.0))
        self.conv = nn.Conv2d(3, 4, 8, 8)
        self.deadly = deadly

    def forward(self, x):
        if self.deadly and parent_process() is not None:
            os._exit(9)
        return (self.conv(x),)
