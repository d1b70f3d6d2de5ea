"""Clips side by side: a row of frames for each way they were labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _TOP, _INK, _PAPER = 6, 26, (32, 32, 32), (255, 255, 255)


def draw_filmstrip(
    rows: Mapping[str, Sequence[np.ndarray]], captions: Sequence[str] = (), width: int = 240
) -> np.ndarray:
    """One picture of clips: a titled row for each, its frames from left to right.

    Args:
        rows: Title, which may have several lines, -> frames uint8 (H, W, 3), RGB, of one
            size. As many in each row.
        captions: Above the columns, optional.
        width: Of a frame in the picture, in pixels.

    Returns:
        uint8 (height, width, 3), RGB.

    Raises:
        ValueError: if there is no frame, or rows or captions differ in number.
    """
    counts = {len(frames) for frames in rows.values()} | ({len(captions)} if captions else set())
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f'rows and captions must be equal in number, above 0, not {counts}')
    (columns,) = counts
    font = ImageFont.load_default(14)
    ruler = ImageDraw.Draw(Image.new('RGB', (1, 1)))
    margin = max(ruler.multiline_textbbox((0, 0), title, font)[2] for title in rows)
    left, top = int(margin) + 2 * _GAP, _TOP if captions else _GAP
    shape = next(iter(rows.values()))[0].shape
    height = round(width * shape[0] / shape[1])
    size = (left + columns * (width + _GAP), top + len(rows) * (height + _GAP))
    canvas = Image.new('RGB', size, _PAPER)
    draw = ImageDraw.Draw(canvas)
    for column, caption in enumerate(captions):
        x = left + column * (width + _GAP) + width // 2
        draw.text((x, top // 2), caption, _INK, font, anchor='mm')
    for row, (title, frames) in enumerate(rows.items()):
        y = top + row * (height + _GAP)
        middle = (left // 2, y + height // 2)
        draw.multiline_text(middle, title, _INK, font, anchor='mm', align='center')
        for column, frame in enumerate(frames):
            tile = Image.fromarray(frame).resize((width, height), Image.Resampling.BOX)
            canvas.paste(tile, (left + column * (width + _GAP), y))
    return np.asarray(canvas)
