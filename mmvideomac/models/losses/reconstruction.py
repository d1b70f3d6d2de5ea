"""The losses of VideoMAC (Eq. 1-3): masked patches' pixels, and their agreement."""

from torch import Tensor, nn

from mmvideomac.registry import MODELS

from ..patchify import normalize_patches, patchify


def masked_mean_square(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error, averaged over a patch's values, then over masked patches.

    Args:
        pred, target (Tensor): (B, L, D); compared in float32.
        mask (Tensor): bool (B, gh, gw) with gh * gw = L, True = counts.

    Returns:
        Tensor: scalar; 0 if no patch counts.
    """
    error = (pred.float() - target.float()).square().mean(-1)
    weight = mask.flatten(1).to(error)
    return (error * weight).sum() / weight.sum().clamp(min=1)


@MODELS.register_module()
class MaskedReconstructionLoss(nn.Module):
    """L_o and L_t of Eq. 1: the pixel loss of MAE, mean squared error on masked patches.

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


@MODELS.register_module()
class ReconstructionConsistencyLoss(nn.Module):
    """L_c of Eq. 2: mean squared difference of two reconstructions at patches hidden in both.

    Symmetric masks hide the same patches, the case of the paper. Of asymmetric
    ones it takes those that both frames had to reconstruct.

    Args:
        loss_weight (float): gamma of Eq. 3; the logged value includes it.
            Defaults to 1.0 (Table 4e).
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, pred_online: Tensor, pred_target: Tensor, mask_online: Tensor, mask_target: Tensor
    ) -> Tensor:
        """
        Args:
            pred_online (Tensor): (B, L, D) online reconstruction of frame 1.
            pred_target (Tensor): (B, L, D) target reconstruction of frame 2; no
                gradient flows into it.
            mask_online, mask_target (Tensor): bool (B, gh, gw), True = masked.

        Returns:
            Tensor: scalar, float32.
        """
        mask = mask_online & mask_target
        return self.loss_weight * masked_mean_square(pred_online, pred_target.detach(), mask)
