"""Named protocols of label propagation: what the public evaluation code of a method does.

"DAVIS J&F" is not one protocol: input size, context, neighbourhood, weights, and how
labels get to the features and back differ from code to code, and so does the score. A
result means something together with the name of the protocol that made it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

TASKS = ('davis', 'vip', 'jhmdb', 'points')


@dataclass(frozen=True)
class PropagationRules:
    """How labels go from context frames to a frame.

    Each cell takes the weighted mean of the labels of the ``topk`` cells most similar
    to it (cosine s) among those near it in the context frames, the weights being
    proportional to exp(s / temperature).

    Attributes:
        context: Number n of latest frames that are context, besides frame 0.
        radius: Of the neighbourhood, in cells.
        neighborhood: ``'square'``: at most ``radius`` cells away along each axis;
            ``'circle'``: at a distance below ``radius``. Cells outside the map do not
            exist.
        first_frame_everywhere: Whether frame 0, as the frame that is always kept, is
            context as a whole instead of in the neighbourhood alone.
        first_frame_again: How often frame 0 is also among the latest n, each time in the
            neighbourhood. ``'never'``; ``'recent'``: once, while it is one of them;
            ``'padding'``: in place of all frames before the clip too, so n + 1 - t times
            for frame t. A cell that is there c times takes up to c of the ``topk`` places.
        keep_ties: Whether cells as similar as the k-th all count. If not, k do, and
            which of equals is not determined.

    Raises:
        ValueError: naming the field whose value cannot be.
    """

    temperature: float
    topk: int
    context: int
    radius: int
    neighborhood: Literal['square', 'circle'] = 'circle'
    first_frame_everywhere: bool = False
    first_frame_again: Literal['never', 'recent', 'padding'] = 'never'
    keep_ties: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f'temperature must be above 0, not {self.temperature!r}')
        least = dict(topk=1, context=1, radius=0 if self.neighborhood == 'square' else 1)
        for name, lowest in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < lowest:
                raise ValueError(f'{name} must be a whole number from {lowest}, not {value!r}')
        choices = dict(
            neighborhood=('square', 'circle'), first_frame_again=('never', 'recent', 'padding')
        )
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f'{name} must be one of {known}, not {getattr(self, name)!r}')

    @property
    def reach(self) -> int:
        """Farthest cell of the neighbourhood along an axis."""
        return self.radius if self.neighborhood == 'square' else self.radius - 1

    def copies_of_first_frame(self, frame: int) -> int:
        """How often frame 0 is among the latest frames before ``frame`` (from 1)."""
        if self.first_frame_again == 'padding':
            return max(0, self.context + 1 - frame)
        return int(self.first_frame_again == 'recent' and frame <= self.context)


@dataclass(frozen=True)
class InputSize:
    """Size at which frames enter the encoder.

    Attributes:
        size: ``None``: native; a number: of the short side, aspect kept; (height, width).
        multiple: The long side is rounded down to a multiple of this, with a short side.
    """

    size: int | tuple[int, int] | None = None
    multiple: int = 1

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the input for a frame of this size."""
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        short, long = sorted((height, width))
        long = int(self.size * long / short) // self.multiple * self.multiple
        return (self.size, long) if height <= width else (long, self.size)


@dataclass(frozen=True)
class MaskTask:
    """Propagation of masks (DAVIS, VIP).

    Attributes:
        rules: Of propagation.
        input_size: Of the frames.
        label_in: See :func:`~mmvideomac.evaluation.labels.labels_to_state`.
        min_max: See :func:`~mmvideomac.evaluation.labels.state_to_labels`.
        score_at_input_size: Whether the ground truth is resized to the input (nearest)
            and scored there, instead of at its own size.
    """

    rules: PropagationRules
    input_size: InputSize
    label_in: Literal['nearest', 'bilinear']
    min_max: bool
    score_at_input_size: bool = False


@dataclass(frozen=True)
class PoseTask:
    """Propagation of joints (JHMDB).

    Attributes:
        rules: Of propagation.
        sigma: Of the heat-map of a joint, in ``unit``.
        unit: ``'cell'``: heat-maps are drawn, and read, on the grid of the features;
            ``'pixel'``: on that of the frames, and resized in between (bilinear).
        topk: Number of sites (of ``unit``) whose weighted mean is the joint.
        background: Whether there is a channel, the first, of sites without any joint.
        score_first_frame: Whether frame 0 counts.
        input_size: Of the frames.
    """

    rules: PropagationRules
    sigma: float
    unit: Literal['cell', 'pixel']
    topk: int
    background: bool
    score_first_frame: bool
    input_size: InputSize = InputSize((320, 320))


@dataclass(frozen=True)
class PointTask:
    """Propagation of points through any video, at the aspect that it has.

    Attributes:
        rules: Of propagation.
        input_size: Of the frames.
    """

    rules: PropagationRules
    input_size: InputSize = InputSize(480)


@dataclass(frozen=True)
class Protocol:
    """What is done for each task, and where that is from."""

    name: str
    davis: MaskTask
    vip: MaskTask
    jhmdb: PoseTask
    source: str

    @property
    def points(self) -> PointTask:
        """Points through any video, by the rules for JHMDB.

        But the clip is always padded with its first frame: while there are fewer frames than
        ``topk``, even what stands still is blended with what merely looks alike.
        """
        return PointTask(replace(self.jhmdb.rules, first_frame_again='padding'))


_VIP_SIZE = InputSize((560, 560))

# Jabri et al., NeurIPS 2020.
_CRW = PropagationRules(
    temperature=0.05,
    topk=10,
    context=20,
    radius=12,
    neighborhood='circle',
    first_frame_everywhere=True,
    first_frame_again='padding',
)
_CRW_DAVIS = MaskTask(_CRW, InputSize(), label_in='bilinear', min_max=False)
_CRW_VIP = replace(_CRW_DAVIS, input_size=_VIP_SIZE)
_CRW_JHMDB = PoseTask(
    _CRW, sigma=0.5, unit='cell', topk=3, background=True, score_first_frame=False
)

# Caron et al., ICCV 2021.
_DINO = PropagationRules(
    temperature=0.1, topk=5, context=7, radius=12, neighborhood='square', keep_ties=True
)
_DINO_DAVIS = MaskTask(_DINO, InputSize(480, multiple=64), label_in='nearest', min_max=True)

# Xu and Wang, ICCV 2021.
_VFS = PropagationRules(
    temperature=0.07,
    topk=10,
    context=20,
    radius=18,
    neighborhood='circle',
    first_frame_again='recent',
)
_VFS_DAVIS = MaskTask(_VFS, InputSize(480), label_in='nearest', min_max=True)

# Eymaël et al., ECCV 2024.
_CROPMAE = replace(_CRW, temperature=0.7, topk=7, radius=20)
_CROPMAE_VIP = replace(_CROPMAE, topk=10)

_PROTOCOLS = (
    Protocol(
        'dino',
        davis=_DINO_DAVIS,
        vip=replace(_DINO_DAVIS, input_size=_VIP_SIZE),
        jhmdb=replace(_CRW_JHMDB, rules=_DINO),
        source='Code of DINO for DAVIS. It has no VIP and JHMDB: there, its propagation and '
        'labels with the input size and heat-maps of crw.',
    ),
    Protocol('crw', _CRW_DAVIS, _CRW_VIP, _CRW_JHMDB, source='Code of CRW (videowalk).'),
    Protocol(
        'vfs',
        davis=_VFS_DAVIS,
        vip=replace(_VFS_DAVIS, input_size=_VIP_SIZE),
        jhmdb=PoseTask(
            _VFS, sigma=4, unit='pixel', topk=5, background=False, score_first_frame=True
        ),
        source='Code of VFS.',
    ),
    Protocol(
        'cropmae',
        davis=replace(
            _CRW_DAVIS,
            rules=_CROPMAE,
            input_size=InputSize((480, 880)),
            score_at_input_size=True,
        ),
        vip=replace(_CRW_VIP, rules=_CROPMAE_VIP),
        jhmdb=replace(_CRW_JHMDB, rules=_CROPMAE, topk=5),
        source='Code of CropMAE, which T-CoRe and ToBo use too; VIP at the size of the papers.',
    ),
    Protocol(
        'siammae',
        davis=replace(_CRW_DAVIS, rules=_CROPMAE),
        vip=replace(_CRW_VIP, rules=replace(_CROPMAE_VIP, radius=8)),
        jhmdb=replace(_CRW_JHMDB, rules=_CROPMAE),
        source='Our reading of SiamMAE, which has no public code: top-k, queue and radius of its '
        'Table 4b; the temperature of CropMAE, who reproduced it; all else as crw.',
    ),
    Protocol(
        'videomac',
        davis=_DINO_DAVIS,
        vip=_CRW_VIP,
        jhmdb=_CRW_JHMDB,
        source='Our reading of VideoMAC, which has no public evaluation code: "aligns with [DINO, '
        'CRW]" on DAVIS as dino, "the same parameters as [CRW]" on VIP and JHMDB as crw.',
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _PROTOCOLS}


def get_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        ValueError: listing the names there are.
    """
    if name not in PROTOCOLS:
        raise ValueError(
            f'unknown protocol {name!r}: there are {", ".join(PROTOCOLS)}. Rules of your own are '
            'a mmvideomac.evaluation.Protocol'
        )
    return PROTOCOLS[name]
