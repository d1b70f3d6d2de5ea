"""L_c of VideoMAC (Eq. 2): the reconstructions of both frames agree."""

from torch import Tensor, nn

from mmvideomac.registry import MODELS

from .masked_mean_square import masked_mean_square


@MODELS.register_module()
class ReconstructionConsistencyLoss(nn.Module):
    """Mean squared difference of two reconstructions at patches hidden in both.

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
