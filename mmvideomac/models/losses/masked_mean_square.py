"""The one reduction that all losses of VideoMAC share."""

from torch import Tensor


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
