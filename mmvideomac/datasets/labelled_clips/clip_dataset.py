"""What the labelled sets have in common."""

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from mmpretrain.structures import DataSample

from mmvideomac.utils.untrusted import path_below, read_text, refuse_links_out

from ..base import BaseDataset
from ..frame_files import list_frames
from .frames import VideoClip, frame_size


class ClipDataset(BaseDataset):
    """Labelled clips: the label of the first frame is given, that of the others is sought.

    An item is ``dict(inputs, data_samples)``: a :class:`VideoClip`, whose frames are
    decoded when asked for, and an mmpretrain ``DataSample`` with the metainfo ::

        sequence       name of the clip
        frame_names    list of str, file names without extension, in order of time
        frame_paths    list of str
        ori_shape      (H, W) of the labels, in pixels
        first_label    what to propagate
        sample_idx     index in the dataset

    and what the metric of the task needs. Collate with mmengine's ``pseudo_collate``.
    The whole set is looked through when the dataset is made, so that a wrong file
    in the last clip is known before the first is processed.

    Args:
        data_root: Folder of the data set.
        sequences: Names of the clips to use; default: all.
        max_frames: Use no more of each clip, for quick looks.
        follow_symlinks: Whether symbolic links may lead out of ``data_root``, where people
            keep large data. Whatever it is, names in lists may not.
        **kwargs: ``metainfo``, ``indices`` (use the first clips only) and
            ``lazy_init`` of mmengine's ``BaseDataset``.
    """

    def __init__(
        self,
        data_root: str,
        sequences: Sequence[str] | None = None,
        max_frames: int | None = None,
        follow_symlinks: bool = True,
        **kwargs,
    ) -> None:
        if not os.path.isdir(data_root):
            raise FileNotFoundError(f'data_root {data_root} does not exist')
        if max_frames is not None and max_frames < 3:
            raise ValueError(f'max_frames must be at least 3, not {max_frames}')
        self.sequences = sequences
        self.max_frames = max_frames
        self.follow_symlinks = follow_symlinks
        super().__init__(
            data_root=os.fspath(data_root),
            data_prefix={},
            serialize_data=False,  # a few hundred short entries
            test_mode=True,
            **kwargs,
        )

    @abstractmethod
    def load_data_list(self) -> list[dict]:
        """Names and paths of all clips; reads no image."""

    @abstractmethod
    def inspect(self, info: dict) -> dict:
        """Look through the files of a clip: further metainfo, or an error."""

    @abstractmethod
    def load_first_label(self, info: dict) -> np.ndarray:
        """The label to propagate."""

    def find_images(self, folder: Path, name: str, listed_in: Path) -> dict[str, str]:
        """Image files of a clip, see :func:`images_by_name`.

        Args:
            folder: That the name is relative to.
            name: Of the clip, as a list has it.
            listed_in: The list.

        Raises:
            FileNotFoundError, ValueError: as there; or if the name, or links, lead out of the
                data set.
        """
        try:
            clip = path_below(folder, name)
        except ValueError as error:
            raise ValueError(f'{listed_in}: {error}') from error
        images = images_by_name(clip, listed_in)
        self.check_links([clip, *images.values()])
        return images

    def check_links(self, paths: Iterable[str | Path]) -> None:
        """Raise ValueError if links lead out of the data set, and must not."""
        if not self.follow_symlinks:
            for path in paths:
                refuse_links_out(path, self.data_root)

    def filter_data(self) -> list[dict]:
        """The clips that are wanted."""
        if self.sequences is None:
            return self.data_list
        found = {info['sequence']: info for info in self.data_list}
        if unknown := [name for name in self.sequences if name not in found]:
            raise ValueError(
                f'{self.data_root} has no clip {unknown[0]}; it has {", ".join(list(found)[:10])}'
                + ', ...' * (len(found) > 10)
            )
        return [found[name] for name in self.sequences]

    def full_init(self) -> None:
        """Find the clips and look through them, once."""
        if self._fully_initialized:
            return
        super().full_init()
        with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock
            jobs = [pool.submit(self.inspect, info) for info in self.data_list]
            try:
                for info, job in zip(self.data_list, jobs, strict=True):
                    info.update(job.result())
                    self._cut(info)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        frames = sum(len(info['frame_paths']) for info in self.data_list)
        print_log(f'{type(self).__name__}: {len(self)} clips, {frames} frames', 'current')

    def _cut(self, info: dict) -> None:
        """Keep the first frames, and their labels."""
        for key in ('frame_names', 'frame_paths', 'label_paths', 'gt_points'):
            if key in info and self.max_frames is not None:
                frames = (..., slice(self.max_frames))
                info[key] = info[key][frames if key == 'gt_points' else frames[1]]

    def prepare_data(self, idx: int) -> dict:
        """The item at an index."""
        info = self.get_data_info(idx)
        sample = DataSample(metainfo={**info, 'first_label': self.load_first_label(info)})
        return dict(inputs=VideoClip(info['frame_paths']), data_samples=sample)


def read_list(path: Path) -> list[str]:
    """The lines of a list file, without empty ones.

    Raises:
        FileNotFoundError: naming the lists that are there.
        ValueError: if the list is no text, empty, or names something twice.
    """
    if not path.is_file():
        others = ', '.join(sorted(p.stem for p in path.parent.glob('*.txt'))) or 'none'
        raise FileNotFoundError(f'there is no list {path} (in that folder: {others})')
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f'{path} is empty: it must name one clip per line')
    if len(set(lines)) < len(lines):
        double = Counter(lines).most_common(1)[0][0]
        raise ValueError(f'{path} names {double} twice. Remove one of the lines.')
    return lines


def images_by_name(folder: Path, listed_in: Path) -> dict[str, str]:
    """Image files of a clip: name without extension -> path, in natural order.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if it holds no image, or two of one name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{listed_in} names {folder.name}, but {folder} does not exist. Fetch it, or take it '
            'out of the list.'
        )
    files = list_frames(str(folder))
    images = {os.path.splitext(name)[0]: str(folder / name) for name in files}
    if not images:
        raise ValueError(f'{folder} holds no image')
    if len(images) < len(files):
        raise ValueError(f'{folder} holds two images of one name, as .jpg and .png. Remove one.')
    return images


def check_numbering(names: Sequence[str], folder: Path) -> None:
    """Refuse a gap in numbered frames (a constant step is none).

    Raises:
        ValueError: naming the first missing frame.
    """
    if not all(name.isdecimal() for name in names):
        return
    numbers = np.array([int(name) for name in names])
    steps = np.diff(numbers)
    if len(steps) and steps.min() < steps.max():
        at = int((steps > steps.min()).argmax())
        missing = str(numbers[at] + steps.min()).zfill(len(names[at]))
        raise ValueError(f'{folder}: frame {missing} is missing after {names[at]}. Fetch it again.')


def check_sizes(paths: Sequence[str], shape: tuple[int, int], of: str) -> None:
    """Refuse images of another size than ``shape``, (H, W), which is that of ``of``.

    Raises:
        ValueError: naming the first image of another size.
        VideoReadError: if one is no image.
    """
    for path in paths:
        if (size := frame_size(path)) != tuple(shape):
            raise ValueError(
                f'{path} has {size[1]}x{size[0]} pixels, but {of} {shape[1]}x{shape[0]}. '
                'Frames and labels of a clip must have one size.'
            )
