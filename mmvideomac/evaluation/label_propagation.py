"""Video label propagation: the labels of a first frame follow the features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import cv2
import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, BaseModule
from mmpretrain.structures import DataSample
from torch import Tensor

from mmvideomac.checkpoint.loading import load_encoder
from mmvideomac.registry import MODELS
from mmvideomac.utils.liveness import tick

from .features import FeatureExtractor, with_places
from .labels import (
    INVISIBLE,
    heatmaps_to_points,
    labels_to_state,
    lost_objects,
    points_to_heatmaps,
    points_to_state,
    state_to_labels,
    state_to_points,
)
from .propagation import propagate
from .protocols import TASKS, InputSize, Protocol, get_protocol


@MODELS.register_module()
class LabelPropagation(BaseModel):
    """Follows the objects, parts or joints of a first frame through a clip.

    Nothing is trained: the labels go to the cells whose features are most similar
    (Wang et al., "Learning Correspondence from the Cycle-Consistency of Time", CVPR
    2019; Jabri et al., NeurIPS 2020). This is how VideoMAC (Sec. 4.1) and its
    predecessors are evaluated on DAVIS, VIP and JHMDB.

    A clip is gone through frame by frame, each encoded once, in memory that does not
    depend on its length (but for the predictions).

    ``load_state_dict`` takes the encoder out of any checkpoint that holds one
    (:func:`~mmvideomac.checkpoint.loading.find_encoder`).

    Args:
        backbone (dict): the encoder, one of ours or of mmpretrain's.
        task (str): ``'davis'``, ``'vip'`` or ``'jhmdb'``; ``'points'`` for points through
            any video.
        protocol (str | Protocol): what is done exactly, see
            :func:`~mmvideomac.evaluation.protocols.get_protocol`.
        stage (int | Sequence[int]), stride (int | None), stride_method (str): the
            features, see :class:`~mmvideomac.evaluation.features.FeatureExtractor`.
        network (str): which encoder of a pre-training checkpoint: ``'online'`` or
            ``'target'``, its moving average.
        rules (dict, optional): fields of the protocol's ``PropagationRules`` to
            change, for ablations: ``dict(topk=7)``.
        input_size (int, optional): short side, in pixels, at which frames enter the
            encoder, their aspect kept. Default: the size of the protocol.
        mean, std (Sequence[float]): of the pixels (0..255, RGB) in training.
        bgr (bool): whether the encoder, ``mean`` and ``std`` are for BGR.

    Raises:
        ValueError: for an unknown task, protocol, network or rule, or features that the
            encoder cannot give.
    """

    def __init__(
        self,
        backbone: dict,
        task: str = 'davis',
        protocol: str | Protocol = 'dino',
        stage: int | Sequence[int] = 3,
        stride: int | None = 8,
        stride_method: str = 'enlarged_input',
        network: str = 'online',
        rules: dict | None = None,
        input_size: int | None = None,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.bgr = bgr
        if task not in TASKS:
            raise ValueError(f'unknown task {task!r}: there are {", ".join(TASKS)}')
        if network not in ('online', 'target'):
            raise ValueError(f"unknown network {network!r}: there are 'online' and 'target'")
        self.task = task
        self.network = network
        self.protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
        self.settings = getattr(self.protocol, task)
        self._changes = dict(rules or {})
        try:
            changed = replace(self.settings.rules, **self._changes)
        except TypeError as error:
            raise ValueError(f'unknown rule of propagation in {self._changes}') from error
        self.settings = replace(self.settings, rules=changed)
        if input_size is not None:
            if not isinstance(input_size, int) or input_size < 1:
                raise ValueError(f'input_size must be a number of pixels, not {input_size!r}')
            self.settings = replace(self.settings, input_size=InputSize(input_size))
            self._changes['input size'] = input_size
        self.extractor = FeatureExtractor(MODELS.build(backbone), stage, stride, stride_method)
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)
        self.register_load_state_dict_pre_hook(_take_encoder)
        #: Called after every frame with its clip's name, its number from 1, and the
        #: number of frames of the clip.
        self.on_frame: Callable[[str, int, int], None] = lambda *_: None

    @property
    def description(self) -> str:
        """Protocol and features in a few words: what a result means."""
        changes = ''.join(f', {name} {value}' for name, value in self._changes.items())
        return f'{self.protocol.name}{changes}, {self.extractor.description}'

    def init_weights(self) -> None:
        """The initialisation that the encoder is pre-trained from."""
        if hasattr(self.extractor.backbone, 'init_weights'):
            self.extractor.backbone.init_weights()

    def forward(
        self,
        inputs: Sequence[Iterable[np.ndarray]],
        data_samples: Sequence[DataSample],
        mode: str = 'predict',
    ) -> Sequence[DataSample]:
        """The entry of mmengine's Runner.

        Args:
            inputs (Sequence[Iterable[np.ndarray]]): clips, each of frames uint8
                (H, W, 3), RGB.
            data_samples (Sequence[DataSample]): with ``first_label``,
                ``sequence``, ``frame_names`` and ``ori_shape``.
            mode (str): only ``'predict'``.

        Returns:
            The samples with ``pred_masks``, uint8 (T, H, W), or, for JHMDB and points,
            ``pred_points``, float64 (2, J, T), x and y in pixels from 0, -1
            for invisible ones. Frame 0 is as given. Of a protocol that scores at the
            input size, that is the size of the masks, and becomes ``ori_shape``.
        """
        if mode != 'predict':
            raise ValueError(f'label propagation has no mode {mode!r}: nothing is trained')
        for clip, sample in zip(inputs, data_samples, strict=True):
            others = dict(jhmdb=self.follow_joints, points=self.follow_points)
            follow = others.get(self.task, self.follow_masks)
            labels, length = [], len(sample.frame_names)
            if getattr(self.settings, 'score_at_input_size', False):
                _resize_label(sample, self.settings.input_size(*sample.ori_shape))
            for label in follow(clip, sample.first_label):
                labels.append(label)
                self.on_frame(sample.sequence, len(labels), length)
            if self.task in others:
                sample.set_data(dict(pred_points=torch.stack(labels, -1)))
            else:
                sample.set_data(dict(pred_masks=torch.stack(labels)))
        return data_samples

    def follow_masks(
        self, frames: Iterable[np.ndarray], first_label: np.ndarray
    ) -> Iterator[Tensor]:
        """Propagate a mask, lazily.

        Args:
            frames: uint8 (H, W, 3), RGB, of one size.
            first_label: Ids, uint8 (H, W), 0 = background. The size may be another.

        Yields:
            For every frame uint8 ids of the size of ``first_label``, on the CPU.

        Raises:
            ValueError: for a frame of another size than the first, or for an ill-formed
                label.
        """
        first_label = torch.as_tensor(first_label)
        if not first_label.any():  # such a video of VIP counts, as background
            yield from (first_label.clone() for _ in frames)
            return
        frames, size = self._sized(frames)
        grid = self.extractor.grid_size(*size)
        ids, state = labels_to_state(first_label, grid, self.settings.label_in, size)
        states = propagate(map(self.encode, frames), state, self.settings.rules)
        for number, state in enumerate(states):
            if number == 0:
                yield first_label.clone()
                continue
            labels = state_to_labels(
                state, ids, size, tuple(first_label.shape), self.settings.min_max
            )
            yield labels.cpu()

    def too_small(
        self, first_label: np.ndarray, frame_size: tuple[int, int]
    ) -> tuple[list[int], int | None]:
        """Objects that :meth:`follow_masks` would lose, since no cell of the features is theirs.

        Args:
            first_label: Ids, uint8 (H, W), 0 = background.
            frame_size: (height, width) of the frames.

        Returns:
            Their ids, and the coarsest stride, a half or less of the present one, that
            holds them all; None if there is none.
        """
        size, stride = self.settings.input_size(*frame_size), self.extractor.stride

        def lost(stride: int) -> list[int]:
            grid = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
            task = self.settings
            return lost_objects(first_label, grid, task.label_in, size, task.min_max)

        ids = lost(stride) if first_label.any() else []
        finer = [stride // 2**i for i in range(1, stride.bit_length())] if ids else []
        return ids, next((stride for stride in finer if not lost(stride)), None)

    def follow_points(
        self, frames: Iterable[np.ndarray], first_points: np.ndarray
    ) -> Iterator[Tensor]:
        """Propagate points through any video, lazily. The task is ``'points'``.

        What the cells cannot tell of the place of a point in the first frame is added to
        all later ones: it moves with what is around it.

        Args:
            frames: uint8 (H, W, 3), RGB, of one size.
            first_points: (2, J), x and y in pixels of the frames from 0; NaN for a point
                that is not labelled.

        Yields:
            For every frame float64 (2, J) within it, -1 for an invisible point, on the CPU.

        Raises:
            ValueError: as :meth:`follow_masks`.
        """
        first, frames = _first(frames)
        height, width = first.shape[:2]
        frames, size = self._sized(frames)
        stride = self.extractor.stride
        cell = stride * height / size[0], stride * width / size[1]
        points = torch.as_tensor(first_points, dtype=torch.float64)
        heatmaps = points_to_heatmaps(points, cell, self.extractor.grid_size(*size))
        offsets = points - heatmaps_to_points(heatmaps, cell)
        border = torch.tensor([[width - 1.0], [height - 1.0]], dtype=torch.float64)
        features = (with_places(self.encode(frame)) for frame in frames)
        states = propagate(features, heatmaps, self.settings.rules)
        for number, state in enumerate(states):
            if number == 0:
                yield points.clone()
                continue
            found = (heatmaps_to_points(state, cell) + offsets).clamp(min=0).minimum(border)
            yield found.nan_to_num(INVISIBLE)

    def follow_joints(
        self, frames: Iterable[np.ndarray], first_points: np.ndarray
    ) -> Iterator[Tensor]:
        """Propagate the joints of JHMDB as the protocol does it, lazily.

        Args:
            frames: uint8 (H, W, 3), RGB, of one size.
            first_points: (2, J), x and y in pixels of the frames from 0; NaN for a point
                that is not labelled.

        Yields:
            For every frame float64 (2, J), -1 for an invisible point, on the CPU.

        Raises:
            ValueError: as :meth:`follow_masks`.
        """
        first, frames = _first(frames)
        shape = first.shape[:2]
        frames, size = self._sized(frames)
        grid = self.extractor.grid_size(*size)
        state = points_to_state(first_points, shape, grid, self.settings)
        states = propagate(map(self.encode, frames), state, self.settings.rules)
        for number, state in enumerate(states):
            if number == 0:
                yield torch.as_tensor(first_points, dtype=torch.float64).clone()
            else:
                yield state_to_points(state, shape, self.settings).double().cpu()

    def encode(self, frame: np.ndarray) -> Tensor:
        """Features (C, h, w) of a frame uint8 (H, W, 3), RGB, at the size it has."""
        tick()
        frame = np.ascontiguousarray(frame[..., ::-1] if self.bgr else frame)
        pixels = torch.from_numpy(frame).to(self.mean.device)
        return self.extractor((pixels.permute(2, 0, 1).float() - self.mean) / self.std)

    def _sized(self, frames: Iterable[np.ndarray]) -> tuple[Iterator[np.ndarray], tuple[int, int]]:
        """Frames at the input size of the protocol, and that (height, width)."""
        first, frames = _first(frames)
        size = self.settings.input_size(*first.shape[:2])

        def resize(frame: np.ndarray) -> np.ndarray:
            if frame.shape != first.shape:
                raise ValueError(
                    f'frames of a clip must have one size: {first.shape[1]}x{first.shape[0]}, then '
                    f'{frame.shape[1]}x{frame.shape[0]}'
                )
            return mmcv.imresize(frame, size[::-1], interpolation='bilinear')

        return map(resize, frames), size


@MODELS.register_module()
class MeanColor(BaseModule):
    """The mean colour of each cell.

    Args:
        stride (int): side of a cell, in pixels.
    """

    out_indices = (0,)

    def __init__(self, stride: int = 8) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) -> one map (B, 3, H / stride, W / stride)."""
        return (F.avg_pool2d(x, self.stride),)


def _first(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """The first frame, and all of them."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError('the clip has no frames')
    return first, chain([first], frames)


def _resize_label(sample: DataSample, size: tuple[int, int]) -> None:
    label = cv2.resize(sample.first_label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    sample.set_metainfo(dict(first_label=label, ori_shape=size))


def _take_encoder(module: LabelPropagation, state_dict: dict, prefix: str, *_) -> None:
    """Replace a checkpoint of any kind by its encoder, which must fit."""
    load_encoder(module.extractor.backbone, state_dict, 'the checkpoint', module.network)
    state_dict.clear()
    own = module.extractor.backbone.state_dict()
    state_dict.update({f'{prefix}extractor.backbone.{key}': own[key] for key in own})
