"""Pictures of frame pairs as pre-training sees them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .reconstruction import ROW_TITLES, compose_tiles, cover_hidden


def draw_frame_pairs(frames: Tensor, masks: Tensor, captions: Sequence[str] = ()) -> np.ndarray:
    """One row for each pair: both frames, and both with their hidden patches covered.

    Args:
        frames: uint8 RGB (N, 2, 3, H, W), not normalised.
        masks: bool (N, 2, gh, gw), True = hidden; patches are H / gh square.
        captions: N texts above the pairs, optional.

    Returns:
        uint8 RGB (height, width, 3).
    """
    images = frames.permute(0, 1, 3, 4, 2).numpy()
    tiles = np.concatenate([images, cover_hidden(images, masks)], axis=1)
    hidden = f'{masks.float().mean():.0%} hidden'
    titles = [*ROW_TITLES, *(f'{title.splitlines()[0]},\n{hidden}' for title in ROW_TITLES)]
    return compose_tiles(tiles[:, None], titles, captions=captions)
