"""Global response normalisation (Woo et al., "ConvNeXt V2", CVPR 2023) on visible sites."""

from __future__ import annotations

from mmpretrain.models.utils import GRN


class BatchGRN(GRN):
    """GRN that takes its norm over the visible sites of the whole batch.

    What the released sparse encoders of ConvNeXt V2 and VideoMAC compute, per
    process; every sample then depends on its batch. Without a mask it is the
    plain, per-sample layer, as in their fine-tuning code.
    """


def grn_dims(module: GRN) -> tuple[int, ...]:
    """Dimensions of (B, K, s, s, C) that the norm of a GRN goes over."""
    return (0, 1, 2, 3) if isinstance(module, BatchGRN) else (1, 2, 3)
