"""JHMDB: human pose in videos."""

import io
import logging
import zlib
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from scipy.io import loadmat, whosmat

from mmvideomac.registry import DATASETS
from mmvideomac.utils.untrusted import FRAMES, MAT_BYTES, read_bytes

from .clip_dataset import ClipDataset, check_numbering, check_sizes, read_list
from .frames import frame_size

JOINTS = (
    'neck', 'belly', 'head', 'right_shoulder', 'left_shoulder', 'right_hip', 'left_hip',
    'right_elbow', 'left_elbow', 'right_knee', 'left_knee', 'right_wrist', 'left_wrist',
    'right_ankle', 'left_ankle',
)  # fmt: skip
_TEST = '2'  # in the split lists; 1 = train
_COMPRESSED = 15  # kind of an element of a .mat file


@DATASETS.register_module()
class JHMDBDataset(ClipDataset):
    """Joint-annotated HMDB (Jhuang et al., "Towards Understanding Action Recognition",
    ICCV 2013), the test clips of a split.

    The layout of the authors::

        data_root/splits/<class>_test_split<n>.txt        '<clip>.avi 2' for a test clip
        data_root/Rename_Images/<class>/<clip>/00001.png
        data_root/joint_positions/<class>/<clip>/joint_positions.mat

    ``pos_img`` in the ``.mat`` file is (2, 15, T), x and y in pixels counted from 1. Here
    they count from 0: the centre of the upper left pixel is (0, 0). Frames after the
    last labelled one are left out, with a warning, as in the public evaluation
    scripts. The metainfo of a sample, besides those of :class:`ClipDataset`::

        sequence       '<class>/<clip>'
        first_label    float64 (2, 15), x and y of the joints in the first frame
        gt_points      float64 (2, 15, T), those of all frames
        object_ids     list of int, 1 to 15

    Args:
        data_root: Folder that holds ``Rename_Images``.
        split: 1, 2 or 3.
        **kwargs: See :class:`ClipDataset`.

    Raises:
        FileNotFoundError: if there is no list of the split, or a clip or its joints
            do not exist.
        ValueError: if no list names a test clip, a list is malformed, a frame is
            missing, sizes differ, joints are malformed or more than the frames.
        VideoReadError: if an image cannot be read.
    """

    METAINFO = dict(dataset_type='jhmdb', classes=JOINTS)

    def __init__(self, data_root: str, split: int = 1, **kwargs) -> None:
        self.split = split
        super().__init__(data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Names and paths of all test clips."""
        ending = f'_test_split{self.split}.txt'
        lists = sorted(Path(self.data_root, 'splits').glob(f'*{ending}'))
        if not lists:
            raise FileNotFoundError(f'no list {self.data_root}/splits/*{ending}')
        clips = [
            self._find(path.name.removesuffix(ending), clip, path)
            for path in lists
            for clip in read_test_clips(path)
        ]
        if not clips:
            raise ValueError(
                f'none of the {len(lists)} lists {self.data_root}/splits/*{ending} names a test '
                'clip ("<clip>.avi 2")'
            )
        return clips

    def _find(self, action: str, clip: str, list_file: Path) -> dict:
        folder = Path(self.data_root, 'Rename_Images', action, clip)
        frames = self.find_images(folder.parent, clip, list_file)
        check_numbering(list(frames), folder)
        return dict(
            sequence=f'{action}/{clip}',
            frame_names=list(frames),
            frame_paths=list(frames.values()),
            object_ids=list(range(1, len(JOINTS) + 1)),
        )

    def inspect(self, info: dict) -> dict:
        """Read the joints of a clip and the sizes of its frames."""
        paths = info['frame_paths']
        path = Path(self.data_root, 'joint_positions', info['sequence'], 'joint_positions.mat')
        self.check_links([path])
        points = load_joints(path)
        labelled = points.shape[2]
        if labelled > len(paths):
            raise ValueError(
                f'{path} holds the joints of {labelled} frames, but the clip has {len(paths)} '
                f'({Path(paths[0]).parent}). Fetch the frames again.'
            )
        if labelled < len(paths):
            print_log(
                f'{path} holds the joints of {labelled} frames of {len(paths)}: the others are '
                'left out',
                'current',
                logging.WARNING,
            )
        shape = frame_size(paths[0])
        check_sizes(paths[:labelled], shape, paths[0])
        return dict(
            ori_shape=shape,
            gt_points=points,
            frame_names=info['frame_names'][:labelled],
            frame_paths=paths[:labelled],
        )

    def load_first_label(self, info: dict) -> np.ndarray:
        """Joints of the first frame, float64 (2, 15)."""
        return info['gt_points'][:, :, 0]


def load_joints(path: Path) -> np.ndarray:
    """Joints of a JHMDB ``joint_positions.mat``: float64 (2, 15, T), pixels from 0.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no ``.mat`` file or too large, or its ``pos_img`` is missing, not of
            this shape or not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f'the joints {path} do not exist')
    try:
        file = _inflated(read_bytes(path, MAT_BYTES))
        # In the order of the file, of which loadmat takes the first of a name too.
        shapes = {name: (shape, kind) for name, shape, kind in reversed(whosmat(file))}
    except Exception as error:  # whatever scipy's parser trips over
        raise ValueError(f'{path} cannot be read as a .mat file ({error})') from error
    if 'pos_img' not in shapes:
        raise ValueError(f'{path} has no variable pos_img')
    shape, kind = shapes['pos_img']
    if kind not in ('double', 'single'):
        raise ValueError(f'{path}: pos_img is of type {kind}, not double or single')
    if shape == (2, len(JOINTS)):  # MATLAB drops the last dimension of a single frame
        shape = (*shape, 1)
    if len(shape) != 3 or shape[:2] != (2, len(JOINTS)) or shape[2] < 1:
        raise ValueError(f'{path}: pos_img has the shape {shape}, not (2, {len(JOINTS)}, frames)')
    try:
        FRAMES.check(shape[2])
        points = loadmat(file, variable_names=['pos_img'])['pos_img']
        points = points.reshape(shape).astype(np.float64) - 1
    except Exception as error:
        raise ValueError(f'{path} cannot be read as a .mat file ({error})') from error
    if not np.isfinite(points).all():
        raise ValueError(f'{path}: pos_img holds values that are not finite')
    return points


def _inflated(data: bytes) -> io.BytesIO:
    """A ``.mat`` file without compression: scipy then takes no more memory than is there.

    Raises:
        ValueError, zlib.error: if it is above the limit, or damaged.
    """
    version = int.from_bytes(data[124:126], 'little' if data[126:128] == b'IM' else 'big')
    if version != 0x0100 or data[126:128] not in (b'IM', b'MI'):  # 4 has no compression
        return io.BytesIO(data)
    order = 'little' if data[126:128] == b'IM' else 'big'
    parts, at, left = [data[:128]], 128, MAT_BYTES.value
    while at + 8 <= len(data):
        kind = int.from_bytes(data[at : at + 4], order)
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], order)
        part = data[at:end]
        if kind == _COMPRESSED:
            part = zlib.decompressobj().decompress(part[8:], left + 1)
        left -= len(part)
        MAT_BYTES.check(MAT_BYTES.value - left)
        parts.append(part)
        at = end
    return io.BytesIO(b''.join(parts))


def read_test_clips(path: Path) -> list[str]:
    clips = []
    for line in read_list(path):
        name, _, number = line.rpartition(' ')
        if number not in ('1', _TEST) or not name.endswith('.avi'):
            raise ValueError(f'{path}: expected "<clip>.avi 1" or "<clip>.avi 2", found {line!r}')
        if number == _TEST:
            clips.append(name.removesuffix('.avi').strip())
    return clips
