"""Frame pairs per second of one loader worker: ours, and what one would write by hand.

python tools/benchmarks/frame_pairs.py data/DAVIS/JPEGImages/480p
python tools/benchmarks/frame_pairs.py clips/ --pairs 16

Each implementation has a DataLoader with one worker and loads the same pairs in the same
shuffled order, with the recipe's random crop, resizing and flip:

* ours: dataset and transforms of --config. Frames stay uint8, because training
  normalises them on the device.
* ours, normalised: the same, normalised in the worker.
* PIL + torchvision: Image.open, resized_crop (bicubic, antialiased), hflip, to_tensor,
  normalize, as in the released code.
* PIL + torchvision, uint8: the same without normalisation.
* OpenCV: imread, resize (bicubic, but not antialiased: not the recipe's picture), flip,
  to_tensor, normalize.

The peers decode video files by decord, opened for each pair. Rows that end alike are
"ours" and "uint8", "ours, normalised" and "PIL + torchvision".
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import decord
import numpy as np
import torch
from common import make_parser, parse_args, report, summarise, time_interleaved
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import mmvideomac  # noqa: F401  (before torchvision, whose import it repairs)
from mmvideomac.datasets import FramePairDataset, SampleKey
from mmvideomac.datasets.frame_files import list_frames
from mmvideomac.datasets.frame_pair_dataset import crop_size
from mmvideomac.registry import DATASETS
from mmvideomac.utils.errors import UserError, reports_errors

# isort: split
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as TF

DEFAULT_CONFIG = Path(__file__).parents[2] / 'configs' / 'videomac_cnxv2t_yt18.py'
#: Path of the video, numbers of two frames.
Pair = tuple[str, tuple[int, int]]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument('data', nargs='+', help='folders of videos or frames, or video files')
    parser.add_argument('--config', type=Path, default=DEFAULT_CONFIG, help='of pre-training')
    parser.add_argument('--pairs', type=int, default=128, help='in a round (default 128)')
    parser.add_argument('--batch', type=int, default=32, help='in a batch (default 32)')
    args = parse_args(parser, argv)
    if args.device != 'cpu' or args.dtype != 'float32':
        parser.error('loading runs on the CPU and has no autocast: omit --device and --dtype')
    for option in ('pairs', 'batch'):
        if getattr(args, option) < 1:
            parser.error(f'--{option} must be at least 1')
    if not args.config.is_file():
        parser.error(f'the config {args.config} does not exist')
    return args


class Samples(Dataset):
    """The first samples of a shuffled epoch of ours, in that order."""

    def __init__(self, dataset: FramePairDataset, length: int, seed: int) -> None:
        self.dataset = dataset
        order = np.random.default_rng(seed).permutation(len(dataset))
        self.keys = [SampleKey(seed, 0, int(index)) for index in np.resize(order, length)]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> dict:
        return self.dataset[self.keys[index]]

    def pairs(self) -> list[Pair]:
        samples = [sample['data_samples'] for sample in self]
        return [(sample.video, sample.frame_indices) for sample in samples]


class NormalisedSamples(Samples):
    """The same, normalised in the worker."""

    def __getitem__(self, index: int) -> list[Tensor]:
        frames = super().__getitem__(index)['inputs']
        return [TF.normalize(frame.float().div_(255), MEAN, STD, inplace=True) for frame in frames]


class PillowPairs(Dataset):
    """The recipe written by hand with PIL and torchvision.

    Args:
        pairs: What to load.
        size: (height, width) of the crops.
        normalise: False leaves the frames uint8.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        size: tuple[int, int],
        normalise: bool = True,
    ) -> None:
        self.pairs = pairs
        self.size = size
        self.normalise = normalise
        self.names = {video: list_frames(video) for video, _ in pairs if os.path.isdir(video)}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> list[Tensor]:
        video, indices = self.pairs[index]
        if video in self.names:
            frames = [self.read(os.path.join(video, self.names[video][i])) for i in indices]
        else:
            clip = decord.VideoReader(video, num_threads=1)
            frames = [self.from_array(frame) for frame in clip.get_batch(indices).asnumpy()]
        width, height = self.width_and_height(frames[0])
        whole = torch.empty(3, height, width, device='meta')
        box = RandomResizedCrop.get_params(whole, (0.2, 1.0), (3 / 4, 4 / 3))
        flip = torch.rand(1).item() < 0.5
        frames = [self.augment(frame, box, flip) for frame in frames]
        if not self.normalise:
            return [TF.pil_to_tensor(frame).contiguous() for frame in frames]
        return [TF.normalize(TF.to_tensor(frame), MEAN, STD) for frame in frames]

    def read(self, path: str) -> Image.Image:
        return Image.open(path).convert('RGB')

    def from_array(self, frame: np.ndarray) -> Image.Image:
        return Image.fromarray(frame)

    def width_and_height(self, frame: Image.Image) -> tuple[int, int]:
        return frame.size

    def augment(self, frame: Image.Image, box: Sequence[int], flip: bool) -> Image.Image:
        frame = TF.resized_crop(frame, *box, self.size, InterpolationMode.BICUBIC)
        return TF.hflip(frame) if flip else frame


class OpenCVPairs(PillowPairs):
    """The same with OpenCV, whose bicubic resizing does not antialias."""

    def read(self, path: str) -> np.ndarray:
        return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)

    def from_array(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def width_and_height(self, frame: np.ndarray) -> tuple[int, int]:
        return frame.shape[1], frame.shape[0]

    def augment(self, frame: np.ndarray, box: Sequence[int], flip: bool) -> np.ndarray:
        top, left, height, width = box
        frame = frame[top : top + height, left : left + width]
        frame = cv2.resize(frame, self.size[::-1], interpolation=cv2.INTER_CUBIC)
        return cv2.flip(frame, 1) if flip else frame


def start_worker(threads: int, _: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def build_dataset(cfg: Config, data: Sequence[str]) -> FramePairDataset:
    """The training set of a config, on other data."""
    init_default_scope(cfg.default_scope)
    dataset = {**cfg.train_dataloader.dataset, 'data_root': list(data), 'ann_file': ''}
    return DATASETS.build(dataset)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    cfg = Config.fromfile(args.config)
    dataset = build_dataset(cfg, args.data)
    size = crop_size(dataset.pipeline.transforms)
    if size is None:
        raise UserError(f'{args.config}: the pipeline has no crop, so it is not the recipe')
    ours = Samples(dataset, args.pairs, args.seed)
    pairs = ours.pairs()
    samples = {
        'ours': ours,
        'ours, normalised': NormalisedSamples(dataset, args.pairs, args.seed),
        'PIL + torchvision': PillowPairs(pairs, size),
        'PIL + torchvision, uint8': PillowPairs(pairs, size, normalise=False),
        'OpenCV': OpenCVPairs(pairs, size),
    }
    loaders = {
        name: DataLoader(
            dataset,
            batch_size=args.batch,
            num_workers=1,
            persistent_workers=True,
            collate_fn=default_collate,
            worker_init_fn=partial(start_worker, args.threads),
        )
        for name, dataset in samples.items()
    }
    load = {name: partial(list, loader) for name, loader in loaders.items()}
    rows = summarise(time_interleaved(load, args.rounds), 'ours')
    for row in rows:
        row['pairs_per_s'] = args.pairs / row['median_s']
    height, width = size
    report(rows, args, f'{args.pairs} frame pairs by one worker, crops of {width}x{height}')


if __name__ == '__main__':
    sys.exit(main())
