"""A page that compares encoders on the same clips."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmvideomac.utils.files import write_file

from .page import data_uri, render_page

#: Clips in the table of a task. Of more, those of the largest gain and loss are shown.
MAX_CLIPS = 40


@dataclass(frozen=True)
class Difference:
    """How an encoder differs from another one on the same clips.

    Attributes:
        clips: Sequence -> difference in points.
        mean, low, high: Over the clips, with a 95 % interval; NaN without any, the interval also
            of one clip.
    """

    clips: Mapping[str, float]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ClipVideo:
    """A clip to look at.

    Attributes:
        sequence: Name.
        webp: Content of the animated picture.
        scores: By encoder.
    """

    sequence: str
    webp: bytes
    scores: Mapping[str, float]


@dataclass(frozen=True)
class TaskResults:
    """What the page shows of a task.

    Attributes:
        task: Its name.
        metric: By which clips are compared.
        first: Name of the first encoder.
        values: Sequence -> the metric of the first encoder, in percent.
        differences: Of the other encoders from the first one, by name.
        videos: The clips to look at.
    """

    task: str
    metric: str
    first: str
    values: Mapping[str, float]
    differences: Mapping[str, Difference]
    videos: Sequence[ClipVideo] = field(default_factory=list)

    @property
    def clips(self) -> list[str]:
        """Of the table: sorted by the mean gain of the others over the first encoder."""

        def gain(sequence: str) -> float:
            gains = [d.clips[sequence] for d in self.differences.values() if sequence in d.clips]
            return sum(gains) / len(gains) if gains else float('-inf')

        ordered = sorted(self.values, key=lambda sequence: (-gain(sequence), sequence))
        half = MAX_CLIPS // 2
        return ordered if len(ordered) <= MAX_CLIPS else ordered[:half] + ordered[-half:]

    @property
    def scale(self) -> float:
        """Points at the end of a bar."""
        return (
            max(
                (abs(value) for d in self.differences.values() for value in d.clips.values()),
                default=1.0,
            )
            or 1.0
        )


def write_comparison(
    out_html: str | os.PathLike,
    title: str,
    head: Sequence[str],
    lines: Sequence[Sequence[str]],
    notes: Sequence[str],
    tasks: Sequence[TaskResults],
    facts: Mapping[str, str],
    encoders: Mapping[str, str],
    command: str,
) -> None:
    """Write one self-contained HTML page: the table, differences by clip, videos, how to repeat it.

    Args:
        out_html: File to write; its folder is made.
        title: Heading.
        head: Titles of the columns of the table, the first two of text.
        lines: Cells.
        notes: What marks in the cells mean.
        tasks: Clip by clip.
        facts: Versions and settings, by name.
        encoders: Name -> where it is from.
        command: That makes the page again.

    Raises:
        OSError: if the file cannot be written.
    """
    page = render_page(
        'comparison.html',
        title,
        head=head,
        lines=lines,
        notes=notes,
        tasks=tasks,
        facts=facts,
        encoders=encoders,
        command=command,
        data_uri=data_uri,
    )
    write_file(out_html, page)
