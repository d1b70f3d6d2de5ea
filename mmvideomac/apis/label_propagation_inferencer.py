"""Objects or points of a first frame, followed through any video."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import tee

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.registry import DefaultScope

from mmvideomac.datasets import VideoReadError
from mmvideomac.datasets.video_frames import VideoFrames
from mmvideomac.evaluation.benchmark import BASELINES, load_weights, use_mean_color
from mmvideomac.evaluation.encoder_sources import EncoderSource, parse_encoder
from mmvideomac.evaluation.label_propagation import LabelPropagation
from mmvideomac.registry import MODELS
from mmvideomac.utils.logging import quiet
from mmvideomac.utils.progress import progress

from .first_label import first_mask as read_first_mask
from .first_label import first_points as read_first_points
from .propagation_writer import MaskWriter, PointWriter, PropagationWriter

#: Frames per second of the overlay where the video, a folder, has none.
_FPS_OF_FOLDERS = 24.0

PathLike = str | os.PathLike
Points = Mapping[str, Sequence[float]] | Sequence[Sequence[float]]


@dataclass
class PropagationResult:
    """What became of a video.

    Attributes:
        setting: Protocol and features.
        num_frames: That were gone through.
        labels: uint8 (T, H, W) of ids, or float64 (2, J, T) of points, x and y in pixels
            from 0, -1 for what is not seen. None if they were not to be kept.
        error: What stopped it after these frames, if anything.
        warning: Which objects are too small to be followed, if any.
    """

    setting: str
    num_frames: int
    labels: np.ndarray | None = None
    error: str | None = None
    warning: str | None = None


class LabelPropagationInferencer:
    """Follows objects or points of a first frame through a video, by any encoder.

    The counterpart of mmpretrain's inferencers, with a lazy video for a batch of images:
    frames are decoded, encoded, labelled and written one by one, so that memory does not
    depend on the length of the video.

    >>> inferencer = LabelPropagationInferencer('epoch_100.pth@stage=3,stride=8')
    >>> inferencer('clip.mp4', first_mask='first.png', out='overlay.mp4')
    >>> for frame, points in inferencer.follow('clip.mp4', first_points={'nose': [120, 80]}): ...

    Masks follow the rules that a protocol has for DAVIS, points those for JHMDB, but at the
    aspect of the video and to a fraction of a cell.

    Args:
        encoder: Any, by one string: ``'epoch_100.pth'``, ``'CONFIG:random'``,
            ``'timm:resnet50'``, ``'color'``, ...; see
            :mod:`~mmvideomac.evaluation.encoder_sources`.
        device: Default: a GPU if there is one.
        **settings: Fields of :class:`~mmvideomac.evaluation.LabelPropagation` to change:
            ``protocol`` (default ``'videomac'``), ``stage``, ``stride``,
            ``stride_method``, ``network``, ``rules``, ``input_size``, and ``task='vip'`` for
            masks by the rules for VIP. None leaves that of the encoder. Frames enter the encoder
            with a short side of ``input_size`` pixels: by default as the protocol has it for
            masks, and 480 for points.

    Raises:
        UserError, ValueError: if there is no such encoder or file, or a setting is not possible.
    """

    def __init__(
        self,
        encoder: str | EncoderSource,
        device: str | torch.device | None = None,
        **settings,
    ) -> None:
        source = encoder if isinstance(encoder, EncoderSource) else parse_encoder(encoder)
        given = {key: value for key, value in settings.items() if value is not None}
        self._mask_task = given.pop('task', 'davis')
        self.config = ConfigDict(
            dict(type='LabelPropagation', protocol='videomac') | source.model | given
        )
        if source.weights == 'color':
            use_mean_color(self.config)
        self.device = torch.device(device or get_device())
        self._models = {self._mask_task: self._build(self._mask_task)}
        if source.weights not in BASELINES:
            with quiet():
                load_weights(self._models[self._mask_task], source.weights)

    @property
    def masks(self) -> LabelPropagation:
        """The encoder with the rules for masks."""
        return self._model(self._mask_task)

    @property
    def points(self) -> LabelPropagation:
        """The same encoder with the rules for points."""
        return self._model('points')

    def follow(
        self,
        video: PathLike | VideoFrames,
        *,
        first_mask: PathLike | np.ndarray | None = None,
        first_points: PathLike | Points | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Frames with their labels, lazily.

        Args:
            video: File, folder of frames, or :class:`VideoFrames` for a part of it.
            first_mask: See :func:`~mmvideomac.apis.first_label.first_mask`.
            first_points: See :func:`~mmvideomac.apis.first_label.first_points`.

        Yields:
            Frame uint8 (H, W, 3), RGB, and label: ids, uint8 (H, W), or points,
            float64 (2, J), x and y in pixels from 0, -1 for a point that is not seen.

        Warns:
            UserWarning: naming the objects that are smaller than a cell of the features,
                which are not followed.

        Raises:
            FileNotFoundError, ValueError, VideoReadError: at once for what the arguments
                name; a VideoReadError also from the iterator, where the video breaks.
        """
        clip = video if isinstance(video, VideoFrames) else VideoFrames(video)
        frames, warning = self._follow(clip, first_mask, first_points)
        if warning:
            warnings.warn(warning, stacklevel=2)
        return frames

    def __call__(
        self,
        video: PathLike | VideoFrames,
        *,
        first_mask: PathLike | np.ndarray | None = None,
        first_points: PathLike | Points | None = None,
        out: PathLike | None = None,
        labels_out: PathLike | None = None,
        keep_labels: bool = True,
        show_progress: bool = True,
    ) -> PropagationResult:
        """Go through a video, and write what is found as it comes.

        Args:
            video, first_mask, first_points: See :meth:`follow`.
            out: Overlay video to write, an .mp4 file that browsers play. Default: none.
            labels_out: Where to write labels: a folder for masks (indexed PNG files,
                named as the frames), a .json file for points. Default: beside ``out``,
                ``<out>_masks/`` or ``<out>_points.json``.
            keep_labels: Whether to return the labels, which takes memory.
            show_progress: On stderr, with the remaining time.

        Warns:
            UserWarning: as :meth:`follow`; it is in the result too.

        Returns:
            The result. If the video breaks midway, that of the frames before, with the
            ``error``; what was written of them is kept, also if it is interrupted.

        Raises:
            FileNotFoundError, ValueError, VideoReadError: before anything was done.
            OSError: if an output cannot be written.
        """
        if labels_out is not None and out is None:
            raise ValueError('labels_out goes with out, the overlay video')
        clip = video if isinstance(video, VideoFrames) else VideoFrames(video)
        frames, warning = self._follow(clip, first_mask, first_points)
        model = self.masks if first_points is None else self.points
        result, labels = PropagationResult(model.description, 0, warning=warning), []
        writer = out and _writer(clip, first_mask, first_points, out, labels_out)
        if warning:
            warnings.warn(warning, stacklevel=2)
        bar = progress(total=len(clip), unit='frame', disable=not show_progress)
        with writer or nullcontext(), bar:
            try:
                for name, (frame, label) in zip(clip.names, frames, strict=False):
                    if writer:
                        writer.write_label(name, frame, label)
                    if keep_labels:
                        labels.append(label)
                    result.num_frames += 1
                    bar.update()
            except VideoReadError as error:
                if not result.num_frames:
                    raise
                result.error = str(error)
        if keep_labels:
            result.labels = np.stack(labels, 0 if first_points is None else -1)
        return result

    def _follow(
        self,
        clip: VideoFrames,
        first_mask: PathLike | np.ndarray | None,
        first_points: PathLike | Points | None,
    ) -> tuple[Iterator[tuple[np.ndarray, np.ndarray]], str | None]:
        """Frames with their labels, and what to warn of."""
        if (first_mask is None) == (first_points is None):
            raise ValueError('give either a first mask or first points')
        shown, encoded = tee(clip)
        warning = None
        if first_mask is not None:
            label = read_first_mask(first_mask, clip.size)
            warning = _too_small(self.masks, label, clip.size)
            labels = self.masks.follow_masks(encoded, label)
        else:
            label, _ = read_first_points(first_points, clip.size)
            labels = self.points.follow_points(encoded, label)
        pairs = zip(shown, labels, strict=False)
        return ((frame, label.numpy()) for frame, label in pairs), warning

    def _model(self, task: str) -> LabelPropagation:
        if task not in self._models:
            model, first = self._build(task), self._models[self._mask_task]
            model.extractor.backbone.load_state_dict(first.extractor.backbone.state_dict())
            self._models[task] = model
        return self._models[task]

    def _build(self, task: str) -> LabelPropagation:
        scope = DefaultScope.overwrite_default_scope('mmvideomac')
        with torch.random.fork_rng(), quiet(), scope:
            torch.manual_seed(0)
            model = MODELS.build({**self.config, 'task': task})
            model.init_weights()
        return model.to(self.device).eval()


def _too_small(model: LabelPropagation, label: np.ndarray, size: tuple[int, int]) -> str | None:
    """What to say of objects that cannot be followed."""
    ids, stride = model.too_small(label, size)
    if not ids:
        return None
    input_size = model.settings.input_size(*size)
    height, width = (
        model.extractor.stride * video / input
        for video, input in zip(size, input_size, strict=True)
    )
    advice = f'at stride {stride}' if stride else 'with a larger input size'
    names = ', '.join(map(str, ids))
    return (
        f'{"object" if len(ids) == 1 else "objects"} {names} cannot be followed: smaller than a '
        f'cell of the features, which is {width:.0f}x{height:.0f} pixels of the video; {advice} '
        'that would be possible'
    )


def _writer(
    clip: VideoFrames,
    first_mask: PathLike | np.ndarray | None,
    first_points: PathLike | Points | None,
    out: PathLike,
    labels_out: PathLike | None,
) -> PropagationWriter:
    inputs = [clip.path, *(x for x in (first_mask, first_points) if isinstance(x, PathLike))]
    arguments = (out, labels_out, clip.fps or _FPS_OF_FOLDERS, inputs)
    if first_points is None:
        return MaskWriter(*arguments, names=clip.names)
    _, names = read_first_points(first_points, clip.size)
    return PointWriter(*arguments, names=names)
