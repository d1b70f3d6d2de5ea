"""L_o and L_t of VideoMAC (Eq. 1): the pixel loss of MAE on masked patches."""

from torch import Tensor, nn

from mmvideomac.registry import MODELS

from ..patchify import normalize_patches, patchify
from .masked_mean_square import masked_mean_square


@MODELS.register_module()
class MaskedReconstructionLoss(nn.Module):
    """Mean squared error of masked patches' pixels.

    Args:
        norm_pix (bool): predict each patch normalised by its own mean and
            standard deviation (VideoMAC, Sec. 3.2). Defaults to True.
        loss_weight (float): Defaults to 1.0.
    """

    def __init__(self, norm_pix: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.norm_pix = norm_pix
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        """
        Args:
            pred (Tensor): (B, L, p * p * 3) predicted patches.
            image (Tensor): (B, 3, gh * p, gw * p) the frame, normalised input.
            mask (Tensor): bool (B, gh, gw), True = masked; L = gh * gw.

        Returns:
            Tensor: scalar, float32.
        """
        target = patchify(image.float(), image.size(2) // mask.size(1))
        if self.norm_pix:
            target = normalize_patches(target)
        return self.loss_weight * masked_mean_square(pred, target, mask)
