"""Weight initialisers beyond mmengine's."""

from mmengine.model import BaseInit
from torch import nn
from torch.nn.init import trunc_normal_, zeros_

from mmvideomac.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class ReleasedTruncNormal(BaseInit):
    """Initialisation of the released VideoMAC encoders.

    Truncated normal of std 0.02 for ordinary convolutions, but of std 1 (the
    function's default, where FCMAE means 0.02) for depthwise convolutions and
    linear layers. Biases are zero.
    """

    def __init__(self) -> None:
        super().__init__()

    def __call__(self, module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                wide = isinstance(layer, nn.Linear) or layer.groups > 1
                trunc_normal_(layer.weight, std=1.0 if wide else 0.02)
                if layer.bias is not None:
                    zeros_(layer.bias)
