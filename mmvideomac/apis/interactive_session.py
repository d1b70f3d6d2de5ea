"""One user's work on one video: mark, follow, compare, look. A page or a notebook shows it."""

from __future__ import annotations

import json
import shlex
import shutil
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import mmcv
import numpy as np
import torch
from torch import Tensor

from mmvideomac.datasets.labelled_clips import DAVISDataset, JHMDBDataset
from mmvideomac.datasets.labelled_clips.masks import encode_mask, load_mask
from mmvideomac.datasets.video_frames import VideoFrames
from mmvideomac.evaluation.encoder_sources import EncoderSource
from mmvideomac.evaluation.label_propagation import LabelPropagation
from mmvideomac.evaluation.metrics import DAVISMetric, PCKMetric
from mmvideomac.evaluation.propagation import LabelPropagator
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import write_file, write_json
from mmvideomac.utils.logging import quiet
from mmvideomac.utils.memory import ResidentMemory
from mmvideomac.visualization.feature_maps import (
    affinity,
    components_to_rgb,
    overlay_affinity,
    overlay_components,
    principal_components,
)
from mmvideomac.visualization.overlay import overlay_masks, overlay_points

from .label_propagation_inferencer import LabelPropagationInferencer
from .marks import Marks, Stroke

#: Features of ConvNets unless their spec says others: an atto follows 480p at about a second per
#: frame on two cores.
DEFAULT_FEATURES = dict(stage=3, stride=16)
_MAX_PIXELS = 4096 * 2304  # of a frame: a small file can hold a huge one
_SAME_OBJECT = 0.5  # IoU of a marked object with the labelled one that it is scored against
_KEPT_MODELS, _KEPT_FEATURES = 4, 6


@dataclass(frozen=True)
class Clip:
    """A video to work on.

    Attributes:
        name: To show.
        path: File, or folder of frames.
        truth: Its labels: metainfo of a sample of DAVIS or JHMDB; None if there are none.
    """

    name: str
    path: str
    truth: Mapping | None = None


@dataclass(frozen=True)
class Choice:
    """An encoder and how its features are made; None leaves what the encoder says.

    Attributes:
        encoder: See :func:`~mmvideomac.evaluation.encoder_sources.parse_encoder`.
        stage, stride, stride_method: See
            :class:`~mmvideomac.evaluation.features.FeatureExtractor`.
        input_size: Short side at which frames enter the encoder.
    """

    encoder: EncoderSource
    stage: int | None = None
    stride: int | None = None
    stride_method: str | None = None
    input_size: int | None = None

    @property
    def spec(self) -> str:
        """The encoder with all settings of its features, as one string."""
        source = self.encoder
        if source.weights == 'color':  # at the stride of what it is compared with
            stride = self.stride or source.model.get('stride') or DEFAULT_FEATURES['stride']
            return source.changed(stride=stride).full_spec
        if source.is_hierarchical:
            defaults = {k: v for k, v in DEFAULT_FEATURES.items() if k not in source.model}
            source = source.changed(**defaults)
        return source.changed(
            stage=self.stage, stride=self.stride, stride_method=self.stride_method
        ).full_spec


@dataclass(frozen=True)
class Cost:
    """What one frame costs, measured on one.

    Attributes:
        setting: Protocol and features.
        seconds: Per frame, once the context is full.
        memory: Bytes at the peak, about; None where the system does not tell.
    """

    setting: str
    seconds: float
    memory: int | None


@dataclass
class Result:
    """What became of the marks by one encoder.

    Attributes:
        name: Of the encoder.
        setting: Protocol and features.
        start: Number of the first frame.
        num_frames: That were gone through.
        seconds: That took.
        overlay: Video file.
        labels: Folder of masks, or JSON file of points.
        command: The command line that repeats it beside the downloaded marks.
        scores: In percent, where the clip has labels of what was marked.
        note: What stopped it, or what could not be followed.
        cancelled: Whether the user stopped it.
    """

    name: str
    setting: str
    start: int
    num_frames: int
    seconds: float
    overlay: Path
    labels: Path
    command: str
    scores: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    cancelled: bool = False


class Cancelled(Exception):
    """The user does not want to wait any more."""


class InteractiveSession:
    """A video, the marks of a user on one of its frames, and what encoders make of them.

    Thread-safe. While :meth:`follow` is under way, frames can be looked at and marked;
    :meth:`cancel`, :meth:`open` and :meth:`close` end it after the frame that it is at.

    Args:
        folder: For files of this session alone; :meth:`close` removes it.
        max_frames: Longer videos are cut after so many.
        device: See :class:`LabelPropagationInferencer`.
    """

    def __init__(self, folder: Path, max_frames: int, device: str | None = None) -> None:
        self.folder, self.max_frames, self.device = Path(folder), max_frames, device
        self.clip: Clip | None = None
        self.results: list[Result] = []
        self.costs: list[Cost] = []
        self._runs = 0
        # Taken in this order: while following, and while the session changes.
        self._following, self._lock = threading.RLock(), threading.RLock()
        self._cancelled = threading.Event()

    def open(self, clip: Clip) -> None:
        """Begin anew with a video.

        Raises:
            VideoReadError, ValueError: if it cannot be shown.
        """
        self.cancel()
        with self._following, self._lock:
            video = VideoFrames(clip.path, max_frames=self.max_frames)
            height, width = video.size
            if height * width > _MAX_PIXELS:
                raise UserError(f'{clip.name}: frames of {width}x{height} pixels are too large')
            next(iter(video))
            self.clip, self.size, self.length = clip, video.size, len(video)
            self.fps = video.fps
            self.start, self.marks = 0, Marks(video.size)
            self.costs = []
            self._drop_results()
            self._features: dict[tuple, Tensor] = {}

    def open_upload(self, path: Path, name: str) -> None:
        """Open a file that is moved into the folder of the session.

        Args:
            path: Where it is now.
            name: What the user calls it: shown, never opened.

        Raises:
            VideoReadError, ValueError: if it is no video; it is removed then.
        """
        shown = ''.join(c if c.isalnum() or c in '._- ' else '_' for c in Path(name).name)[-60:]
        self.cancel()
        with self._following, self._lock:
            suffix = Path(shown).suffix or '.mp4'
            kept = self.folder / f'upload{suffix}'
            part = self.folder / f'new{suffix}'
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.move(path, part)
            try:
                self.open(Clip(shown, str(part)))
            except Exception as error:
                part.unlink(missing_ok=True)
                message = str(error).replace(str(part), shown)
                raise UserError(message) from error
            part.replace(kept)
            self.clip = Clip(shown, str(kept))

    def frame(self, number: int) -> np.ndarray:
        """A frame, uint8 (H, W, 3), RGB.

        Raises:
            UserError: if no video is open, or it has no such frame.
            VideoReadError: if it is damaged.
        """
        with self._lock:
            clip = self._opened()
            if not 0 <= number < self.length:
                raise UserError(f'{clip.name} has frames 0 to {self.length - 1}, not {number}')
            return next(iter(VideoFrames(clip.path, number, 1)))

    # ---- marks

    def paint(self, number: int, stroke: Stroke) -> None:
        """Paint on a frame; marks of another frame are dropped."""
        with self._lock:
            self._on(number).paint(stroke)

    def point(self, number: int, x: float, y: float) -> None:
        """Mark a point of a frame; marks of another frame are dropped."""
        with self._lock:
            self._on(number).point(x, y)

    def mark_labels(self, number: int) -> None:
        """Mark what the labels of the clip have in a frame.

        Raises:
            UserError: if there are none.
        """
        with self._lock:
            truth = self._opened().truth
            if truth is None:
                raise UserError('this clip has no labels')
            marks = self._on(number)
            if 'gt_points' in truth:
                marks.set_points(truth['gt_points'][:, :, number])
            else:
                marks.set_mask(load_mask(truth['label_paths'][number], truth['binary_masks']))

    def undo(self) -> None:
        """Take back the last mark."""
        with self._lock:
            self._opened()
            self.marks.undo()

    def clear(self) -> None:
        """Take back all marks."""
        with self._lock:
            self._opened()
            self.marks.clear()

    def marked(self, number: int) -> np.ndarray:
        """A frame with the marks that are on it, uint8 (H, W, 3)."""
        with self._lock:
            frame = self.frame(number)
            if not self.marks or number != self.start:
                return frame
            if self.marks.kind == 'points':
                return overlay_points(frame, self.marks.points())
            return overlay_masks(frame, self.marks.mask())

    # ---- encoders

    def cost(self, choice: Choice) -> Cost:
        """Measure what a frame costs.

        Raises:
            UserError, ValueError, OSError: if the encoder cannot be had so.
        """
        with self._lock:
            self._opened()
            model = self._model(choice)
            frame = self._resized(self.frame(self.start), model)
            features = model.encode(frame)  # the first time is slower
            peak = ResidentMemory()
            began = time.perf_counter()
            features = model.encode(frame)
            encoding = time.perf_counter() - began
            rules = model.settings.rules
            propagator = LabelPropagator(rules)
            labels = self.marks.points().shape[1] if self.marks.kind == 'points' else None
            labels = labels or len(np.unique(self.marks.mask()))
            propagator.reset(features, torch.rand(max(labels, 2), *features.shape[1:]))
            began = time.perf_counter()
            propagator.step(features)
            step = time.perf_counter() - began
            # A step looks at as many frames as it has context: here one, or two with frame 0.
            frames = (rules.context + rules.first_frame_everywhere) / (
                1 + rules.first_frame_everywhere
            )
            size = features.numel() * features.element_size()
            memory = peak.peak()
            memory = None if memory is None else memory + rules.context * size
            cost = Cost(model.description, encoding + frames * step, memory)
            self.costs.append(cost)
            return cost

    def follow(
        self, choices: Sequence[Choice], on_frame: Callable[[int, int], None] = lambda *_: None
    ) -> list[Result]:
        """Follow the marks from their frame to the end of the video, by each encoder.

        Args:
            choices: Encoders.
            on_frame: Called before each frame with the number of those done, over all
                encoders, and of all.

        Returns:
            The results, also :attr:`results`. One that was cancelled, or met a damaged frame, is
            of the frames before; where it was cancelled, there is none of the encoders after it.

        Raises:
            UserError, ValueError, OSError: if nothing is marked, or an encoder cannot be had.
        """
        with self._following:
            with self._lock:
                clip, marks, start = self._opened(), self.marks, self.start
                kind, labels = marks.kind, self._marked_labels()
                self._drop_results()
                self._runs += 1
            self._cancelled.clear()
            frames = self.length - start
            for number, choice in enumerate(choices):

                def report(done: int, before: int = number * frames) -> None:
                    if self._cancelled.is_set():
                        raise Cancelled
                    on_frame(before + done, frames * len(choices))

                self.results.append(self._follow(clip, choice, start, kind, labels, report))
                if self._cancelled.is_set():
                    break
            return self.results

    def cancel(self) -> bool:
        """End :meth:`follow` after the frame that it is at, and wait until it has ended.

        Returns:
            Whether it was under way.
        """
        self._cancelled.set()
        idle = self._following.acquire(blocking=False)
        if not idle:
            self._following.acquire()
        self._following.release()
        return not idle

    def overlay(self, result: Result, number: int) -> np.ndarray:
        """A frame of the video with what a result has there, uint8 (H, W, 3)."""
        with self._lock:
            frame = self.frame(number)
            if not result.start <= number < result.start + result.num_frames:
                return frame
            name = VideoFrames(self.clip.path, number, 1).names[0]
            if result.labels.is_dir():
                return overlay_masks(frame, load_mask(str(result.labels / f'{name}.png')))
            points = json.loads(result.labels.read_text(encoding='utf-8'))[name]
            return overlay_points(frame, np.array([point or (-1, -1) for point in points]).T)

    def downloads(self) -> list[Path]:
        """Files of the results: marks, overlays, and labels, masks as .zip files."""
        with self._lock:
            if not self.results:
                return []
            run = self.results[0].overlay.parent
            for result in self.results:
                if result.labels.is_dir():
                    with zipfile.ZipFile(result.labels.with_suffix('.zip'), 'w') as archive:
                        for path in sorted(result.labels.iterdir()):
                            archive.write(path, path.name)
            return sorted(path for path in run.iterdir() if path.is_file())

    # ---- features

    def match(
        self, choice: Choice, number: int, point: tuple[float, float], other: int
    ) -> np.ndarray:
        """Another frame, and on it what matches a pixel of a frame.

        Args:
            choice: Encoder.
            number: Of the frame.
            point: x and y in pixels from 0.
            other: Number of the frame to search.

        Returns:
            uint8 (H, W, 3).
        """
        with self._lock:
            self._opened()
            model = self._model(choice)
            here, there = (self._encoded(choice, model, n) for n in (number, other))
            cell = self._cell(model)
            column, row = (
                min(max(int((place + 0.5) / side), 0), cells - 1)
                for place, side, cells in zip(
                    point, reversed(cell), reversed(here.shape[1:]), strict=True
                )
            )
            temperature = model.settings.rules.temperature
            weights = affinity(here[:, row, column], there, temperature)
            return overlay_affinity(self.frame(other), weights, cell)

    def components(self, choice: Choice, numbers: Sequence[int]) -> list[np.ndarray]:
        """Frames as the three main components of their features, each uint8 (H, W, 3)."""
        with self._lock:
            self._opened()
            model = self._model(choice)
            projected, _ = principal_components(
                [self._encoded(choice, model, number) for number in numbers]
            )
            return [
                overlay_components(self.frame(number), colours, self._cell(model))
                for number, colours in zip(numbers, components_to_rgb(projected), strict=True)
            ]

    def close(self) -> None:
        """End what is under way, and remove the files."""
        self.cancel()
        with self._following, self._lock:
            self.clip, self.results = None, []
            shutil.rmtree(self.folder, ignore_errors=True)

    # ---- inside

    def _opened(self) -> Clip:
        if self.clip is None:
            raise UserError('no video is open')
        return self.clip

    def _on(self, number: int) -> Marks:
        """The marks of a frame."""
        self._opened()
        if not 0 <= number < self.length:
            raise UserError(f'there is no frame {number}')
        if number != self.start:
            self.start, self.marks = number, Marks(self.size)
        return self.marks

    def _drop_results(self) -> None:
        self.results = []
        shutil.rmtree(self.folder / f'run{self._runs}', ignore_errors=True)

    def _marked_labels(self) -> np.ndarray:
        """Points (2, J), or a mask (H, W).

        Raises:
            UserError: if nothing is marked.
        """
        labels = self.marks.points() if self.marks.kind == 'points' else self.marks.mask()
        if not self.marks or not labels.size or (self.marks.kind == 'masks' and not labels.any()):
            raise UserError('nothing is marked: click or paint what is to be followed')
        return labels

    def _follow(
        self,
        clip: Clip,
        choice: Choice,
        start: int,
        kind: str,
        labels: np.ndarray,
        report: Callable[[int], None],
    ) -> Result:
        run = self.folder / f'run{self._runs}'
        out = run / f'overlay_{len(self.results) + 1}.mp4'
        model = self._model(choice, kind)
        if kind == 'points':
            labels = labels.T.round(2).tolist()
            write_json(run / 'points.json', labels)
            prompt, option = dict(first_points=labels), ['--points', 'points.json']
            written = out.with_name(f'{out.stem}_points.json')
        else:
            write_file(run / 'first_mask.png', encode_mask(labels))
            prompt, option = dict(first_mask=labels), ['--first-mask', 'first_mask.png']
            written = out.with_name(f'{out.stem}_masks')
        video = _WatchedFrames(clip.path, start, self.length - start, report)
        settings = dict(keep_labels=clip.truth is not None, show_progress=False)
        began, found = time.perf_counter(), None
        with suppress(Cancelled), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # it is in the result
            found = self._inferencer(choice)(video, out=out, **settings, **prompt)
        return Result(
            name=choice.encoder.name,
            setting=model.description,
            start=start,
            num_frames=found.num_frames if found else _length(out),
            seconds=time.perf_counter() - began,
            overlay=out,
            labels=written,
            command=self._command(clip, choice, start, [*option, '--out', out.name]),
            scores=_scores(clip.truth, kind, start, found.labels) if found and clip.truth else {},
            note=found.error or found.warning if found else 'cancelled',
            cancelled=found is None,
        )

    def _command(self, clip: Clip, choice: Choice, start: int, option: Sequence[str]) -> str:
        upload = Path(clip.path).parent == self.folder
        words = ['python', 'tools/propagate.py', clip.name if upload else clip.path, *option]
        if start:
            words += ['--start', str(start)]
        if self.length == self.max_frames:
            words += ['--max-frames', str(self.length - start)]
        words += ['--encoder', choice.spec]
        if choice.input_size:
            words += ['--input-size', str(choice.input_size)]
        return shlex.join(words)

    def _inferencer(self, choice: Choice) -> LabelPropagationInferencer:
        return _inferencer(choice.spec, choice.input_size, self.device)

    def _model(self, choice: Choice, kind: str | None = None) -> LabelPropagation:
        inferencer = self._inferencer(choice)
        points = (kind or self.marks.kind) == 'points'
        return inferencer.points if points else inferencer.masks

    def _resized(self, frame: np.ndarray, model: LabelPropagation) -> np.ndarray:
        size = model.settings.input_size(*frame.shape[:2])
        return mmcv.imresize(frame, size[::-1], interpolation='bilinear')

    def _cell(self, model: LabelPropagation) -> tuple[float, float]:
        """(height, width) of a cell of the features, in pixels of the video."""
        sizes = zip(self.size, model.settings.input_size(*self.size), strict=True)
        height, width = (model.extractor.stride * video / size for video, size in sizes)
        return height, width

    def _encoded(self, choice: Choice, model: LabelPropagation, number: int) -> Tensor:
        """Features of a frame, on the CPU; those used last are kept."""
        key = (choice.spec, model.settings.input_size, number)
        features = self._features.pop(key, None)
        if features is None:
            features = model.encode(self._resized(self.frame(number), model)).cpu()
        self._features[key] = features
        while len(self._features) > _KEPT_FEATURES:
            del self._features[next(iter(self._features))]
        return features


def sample_clips(root: Path) -> list[Clip]:
    """The labelled clips that ``tools/data/make_sample_videos.py`` made in a folder."""
    with quiet():
        datasets = [DAVISDataset(str(root / 'davis')), JHMDBDataset(str(root / 'jhmdb'))]
    clips = []
    for dataset in datasets:
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            what = 'joints' if 'gt_points' in info else 'objects'
            name = f'{info["sequence"].split("/")[-1]} ({what})'
            clips.append(Clip(name, str(Path(info['frame_paths'][0]).parent), info))
    return clips


def score_masks(truth: Mapping, start: int, labels: np.ndarray) -> dict[str, float]:
    """J and F as DAVIS has them, of the objects that were marked where labelled ones are.

    Args:
        truth: Metainfo of a sample of DAVIS.
        start: Number of the first frame of ``labels``.
        labels: uint8 (T, H, W), any ids.

    Returns:
        In percent; nothing if no marked object is a labelled one, or there are fewer than three
        frames (the first and the last are not scored).
    """
    paths = truth['label_paths'][start : start + len(labels)]
    if len(paths) < 3:
        return {}
    first = load_mask(paths[0], truth['binary_masks'])
    ids = np.zeros(256, np.uint8)
    for label in np.unique(labels[0][labels[0] > 0]):
        for target in truth['object_ids']:
            marked, labelled = labels[0] == label, first == target
            union = (marked | labelled).sum()
            if (marked & labelled).sum() > _SAME_OBJECT * union:
                ids[label] = target
    rows = [truth['object_ids'].index(target) for target in sorted({*ids.tolist()} - {0})]
    if not rows:
        return {}
    metric = DAVISMetric()
    scores = metric.score({**truth, 'label_paths': paths, 'pred_masks': ids[labels]})
    metrics, _ = metric.summarise({'clip': {key: values[rows] for key, values in scores.items()}})
    return {'J&F': metrics['J&F'], 'J': metrics['J_mean'], 'F': metrics['F_mean']}


def score_points(truth: Mapping, start: int, labels: np.ndarray) -> dict[str, float]:
    """PCK as for JHMDB, if all labelled joints are what was marked.

    Args:
        truth: Metainfo of a sample of JHMDB.
        start: Number of the first frame of ``labels``.
        labels: float64 (2, J, T).

    Returns:
        In percent; nothing for other points, or a single frame.
    """
    joints = truth['gt_points'][..., start : start + labels.shape[2]]
    same = labels.shape == joints.shape and np.abs(labels[..., 0] - joints[..., 0]).max() < 0.1
    if not same or labels.shape[2] < 2:
        return {}
    metric = PCKMetric()
    sample = dict(sequence=truth['sequence'], pred_points=labels, gt_points=joints)
    metrics, _ = metric.summarise({'clip': metric.score(sample)})
    return {name: metrics[name] for name in ('PCK@0.1', 'PCK@0.2')}


def _scores(truth: Mapping, kind: str, start: int, labels: np.ndarray) -> dict[str, float]:
    if kind == 'points':
        return score_points(truth, start, labels) if 'gt_points' in truth else {}
    return score_masks(truth, start, labels) if 'label_paths' in truth else {}


class _WatchedFrames(VideoFrames):
    """Says how far it has come, and stops where the listener raises."""

    def __init__(
        self, path: str, start: int, max_frames: int, report: Callable[[int], None]
    ) -> None:
        super().__init__(path, start, max_frames)
        self._report = report

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, frame in enumerate(super().__iter__()):
            self._report(number)
            yield frame


@lru_cache(maxsize=_KEPT_MODELS)
def _inferencer(
    spec: str, input_size: int | None, device: str | None
) -> LabelPropagationInferencer:
    """Shared by all sessions: it has no state of a video."""
    return LabelPropagationInferencer(spec, device, input_size=input_size)


def _length(video: Path) -> int:
    return len(VideoFrames(video)) if video.exists() else 0
