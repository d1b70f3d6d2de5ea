"""Pictures of what a masked autoencoder of frame pairs reconstructs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from math import isqrt

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mmvideomac.models.patchify import patch_statistics, patchify, unpatchify

ROW_TITLES = ('frame 1\n(online)', 'frame 2\n(target)')
FOOTNOTE = (
    '* The model predicts patches of zero mean and unit variance. Here they get back the mean and '
    'variance of the true patch, which the model does not know: these columns leak ground truth. '
    'In the last column both are interpolated from the visible patches instead.'
)
_GAP, _MARGIN, _INK, _PAPER, _GREY = 6, 76, (32, 32, 32), (255, 255, 255), 128
_SMALLEST_TILE = 160  # px, so that the titles fit


def draw_reconstruction(
    frames: Tensor,
    masks: Tensor,
    pred_patches: Tensor,
    pixel_mean: Tensor,
    pixel_std: Tensor,
    norm_pix: bool = True,
    captions: Sequence[str] = (),
) -> np.ndarray:
    """One picture of N reconstructed pairs: a row for each frame, columns with titles.

    Args:
        frames, masks, pred_patches, pixel_mean, pixel_std, norm_pix: as for
            :func:`reconstruction_tiles`. With ``norm_pix`` a footnote says what
            the statistics are.
        captions: N texts above the pairs, optional.

    Returns:
        uint8 RGB (height, width, 3).
    """
    tiles = reconstruction_tiles(frames, masks, pred_patches, pixel_mean, pixel_std, norm_pix)
    rows = np.stack(list(tiles.values()), axis=2)
    return compose_tiles(rows, list(tiles), ROW_TITLES, captions, FOOTNOTE if norm_pix else '')


def reconstruction_tiles(
    frames: Tensor,
    masks: Tensor,
    pred_patches: Tensor,
    pixel_mean: Tensor,
    pixel_std: Tensor,
    norm_pix: bool = True,
) -> dict[str, np.ndarray]:
    """Input, masked input, reconstruction and the same with the visible patches pasted in.

    If ``norm_pix``, reconstructions take the statistics of the true patches, and one
    more, the last, is made without them (:func:`interpolate_statistics`).

    Args:
        frames: (N, 2, 3, H, W), normalised, RGB.
        masks: bool (N, 2, gh, gw), True = hidden; patches are H / gh square.
        pred_patches: (N, 2, gh * gw, p * p * 3), the raw predictions, rows first;
            inside a patch row, column, channel.
        pixel_mean, pixel_std: 3 values each, 0..255, that undo the normalisation.
        norm_pix: whether predictions are of zero mean and unit variance per patch.

    Returns:
        Title -> uint8 RGB (N, 2, H, W, 3), in the order of the columns.
    """
    grid = tuple(masks.shape[2:])
    patch_size = frames.shape[3] // grid[0]
    images = frames.flatten(0, 1).float().cpu()
    pred = pred_patches.flatten(0, 1).float().cpu()
    hidden = masks.flatten(0, 1).cpu()
    true = patchify(images, patch_size)
    select = hidden.flatten(1)[..., None]

    def to_pixels(patches: Tensor) -> np.ndarray:
        pixels = patches_to_pixels(patches, grid, pixel_mean, pixel_std)
        return pixels.reshape(*frames.shape[:2], *pixels.shape[1:])

    tiles = {'input': to_pixels(true)}
    covered = cover_hidden(tiles['input'], masks)
    tiles[f'masked\n({hidden.float().mean():.0%} hidden)'] = covered
    if not norm_pix:
        tiles['reconstructed'] = to_pixels(pred)
        tiles['pasted'] = to_pixels(torch.where(select, pred, true))
        return tiles
    mean, std = patch_statistics(true)
    restored = pred * std + mean
    mean, std = (interpolate_statistics(value, hidden) for value in (mean, std))
    guessed = pred * std + mean
    tiles['reconstructed,\ntrue statistics *'] = to_pixels(restored)
    tiles['pasted,\ntrue statistics *'] = to_pixels(torch.where(select, restored, true))
    tiles['pasted, statistics\nfrom visible patches'] = to_pixels(
        torch.where(select, guessed, true)
    )
    return tiles


def patches_to_pixels(
    patches: Tensor, grid: tuple[int, int], pixel_mean: Tensor, pixel_std: Tensor
) -> np.ndarray:
    """Images of patches of the normalised input.

    Args:
        patches: (B, gh * gw, p * p * 3), on the CPU.
        grid: (gh, gw).
        pixel_mean, pixel_std: 3 values each, 0..255, that undo the normalisation.

    Returns:
        uint8 RGB (B, H, W, 3).
    """
    scale, shift = (
        torch.as_tensor(value).float().cpu().reshape(3, 1, 1) for value in (pixel_std, pixel_mean)
    )
    images = unpatchify(patches, grid, isqrt(patches.size(-1) // 3)) * scale + shift
    return images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def cover_hidden(images: np.ndarray, masks: Tensor) -> np.ndarray:
    """Paint the hidden patches grey.

    Args:
        images: uint8 RGB (..., H, W, 3).
        masks: bool (..., gh, gw), True = hidden; patches are H / gh square.

    Returns:
        uint8, as ``images``.
    """
    patch_size = images.shape[-2] // masks.shape[-1]
    cover = masks.repeat_interleave(patch_size, -2).repeat_interleave(patch_size, -1)
    return np.where(cover.cpu().numpy()[..., None], np.uint8(_GREY), images)


def interpolate_statistics(values: Tensor, masks: Tensor) -> Tensor:
    """Values of hidden patches guessed from the visible ones, by inverse squared distance.

    Args:
        values: (B, gh * gw, 1), one value per patch; hidden ones are not read.
        masks: bool (B, gh, gw), True = hidden, at least one False in each.

    Returns:
        (B, gh * gw, 1); visible patches keep their values.
    """
    gh, gw = masks.shape[1:]
    cells = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)).to(values)
    weights = torch.cdist(cells, cells).square().clamp(min=0.5).reciprocal()
    hidden = masks.flatten(1)[..., None]
    visible = (~hidden).to(values)
    guess = weights @ values.masked_fill(hidden, 0.0) / (weights @ visible)
    return torch.where(hidden, guess, values)


def compose_tiles(
    rows: np.ndarray,
    titles: Sequence[str],
    row_titles: Sequence[str] = (),
    captions: Sequence[str] = (),
    footnote: str = '',
) -> np.ndarray:
    """Set pictures in rows and columns with their titles, enlarged if they are small.

    Args:
        rows: uint8 RGB (N, rows, columns, H, W, 3), N samples one below the other.
        titles: of the columns.
        row_titles: of the rows of a sample, left of them; none by default.
        captions: N texts above the samples; none by default.
        footnote: below all.

    Returns:
        uint8 RGB (height, width, 3).
    """
    factor = -(-_SMALLEST_TILE // rows.shape[4])
    rows = rows.repeat(factor, axis=3).repeat(factor, axis=4)
    count, per_sample, columns, height, width, _ = rows.shape
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    caption_height = 22 if captions else 4
    margin = _MARGIN if row_titles else _GAP
    sample_height = caption_height + per_sample * (height + _GAP) + _GAP
    canvas_width = margin + columns * (width + _GAP)
    note = '\n'.join(textwrap.wrap(footnote, (canvas_width - margin) // 7))
    top = 44
    bottom = 12 + 16 * (note.count('\n') + 1) if note else _GAP
    canvas = Image.new('RGB', (canvas_width, top + count * sample_height + bottom), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        x = margin + column * (width + _GAP) + width // 2
        draw.multiline_text((x, top - 6), title, _INK, font, anchor='md', align='center')
    for sample in range(count):
        y = top + sample * sample_height
        if captions:
            draw.text((margin, y + 4), captions[sample], _INK, small)
        y += caption_height
        for row in range(per_sample):
            if row_titles:
                middle = (margin // 2, y + height // 2)
                draw.multiline_text(
                    middle, row_titles[row], _INK, font, anchor='mm', align='center'
                )
            for column in range(columns):
                tile = Image.fromarray(np.ascontiguousarray(rows[sample, row, column]))
                canvas.paste(tile, (margin + column * (width + _GAP), y))
            y += height + _GAP
    draw.multiline_text((margin, canvas.height - bottom), note, _INK, small, spacing=3)
    return np.asarray(canvas)
