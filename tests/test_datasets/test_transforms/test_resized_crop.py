import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mmvideomac.datasets import ApplyToFrames, FrameFolderReader, PackFramePair
from mmvideomac.datasets.randomness import seeded
from mmvideomac.datasets.transforms import RandomResizedCropFrames
from mmvideomac.registry import TRANSFORMS
from tests.test_datasets.helpers import real_data


def scene(seed=0, size=(120, 160)):
    """A picture with edges and smooth parts."""
    rng = np.random.RandomState(seed)
    coarse = Image.fromarray(rng.randint(0, 256, (8, 10, 3), np.uint8))
    image = np.array(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
    image[30:60, 40:70] = 255 - image[30:60, 40:70]
    return image


def exact(frames, seed, scale, interpolation='bicubic'):
    """The same crop by Pillow, from the same random numbers."""
    crop = dict(
        type='RandomResizedCrop',
        scale=scale,
        crop_ratio_range=(0.2, 1.0),
        interpolation=interpolation,
        backend='pillow',
    )
    with seeded(seed):
        return ApplyToFrames([TRANSFORMS.build(crop)])(dict(frames=frames))['frames']


@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('scale', [32, 200, (40, 56)])
def test_equals_pillow(interpolation, scale):
    """Enlarged and reduced, of any shape; both frames get the same box."""
    transform = RandomResizedCropFrames(scale, interpolation, crop_ratio_range=(0.2, 1.0))
    frames = [scene(0), scene(1)]
    for seed in range(10):
        with seeded(seed):
            results = transform(dict(frames=list(frames), video='v'))
        assert results['video'] == 'v' and results['flip'] is False
        assert results['img_shape'] == transform.scale
        pairs = zip(results['frames'], exact(frames, seed, scale, interpolation), strict=True)
        for ours, theirs in pairs:
            assert ours.shape == theirs.shape and ours.dtype == np.uint8
            difference = np.abs(ours.astype(int) - theirs)
            assert difference.max() <= 5 and difference.mean() < 0.3  # rounding, after each axis


def test_real_frames_are_those_of_pillow():
    folder = str(real_data('davis', 'JPEGImages', '480p', 'blackswan'))
    frames = FrameFolderReader().read(folder, (3, 4))
    transform = RandomResizedCropFrames(224, crop_ratio_range=(0.2, 1.0))
    for seed in range(8):
        with seeded(seed):
            ours = np.stack(transform(dict(frames=list(frames)))['frames']).astype(float)
        error = ((ours - np.stack(exact(frames, seed, 224))) ** 2).mean()
        assert 10 * np.log10(255**2 / error) > 52  # dB


def test_flip():
    frames = [scene(0), scene(1)]
    plain, flipped, sometimes = (
        RandomResizedCropFrames(32, crop_ratio_range=(0.2, 1.0), flip_prob=prob)
        for prob in (0.0, 1.0, 0.5)
    )
    flips = []
    for seed in range(40):
        outputs = []
        for transform in (plain, flipped, sometimes):
            with seeded(seed):
                outputs.append(transform(dict(frames=list(frames))))
        straight, mirrored, either = outputs
        assert (straight['flip'], mirrored['flip']) == (False, True)
        for left, right in zip(straight['frames'], mirrored['frames'], strict=True):
            assert np.array_equal(left, right[:, ::-1])
        same = mirrored if either['flip'] else straight
        assert np.array_equal(either['frames'], same['frames'])
        flips.append(either['flip'])
    assert 10 < sum(flips) < 30


def test_draws_differ():
    transform = RandomResizedCropFrames(32, flip_prob=0.5)
    frame = scene()
    with seeded(0):
        outputs = [transform(dict(frames=[frame, frame]))['frames'] for _ in range(20)]
    assert all(np.array_equal(*output) for output in outputs)
    assert len({output[0].tobytes() for output in outputs}) == 20


def test_packs_and_mixes_with_other_transforms():
    jitter = dict(type='torchvision/ColorJitter', brightness=0.4)
    pipeline = [
        RandomResizedCropFrames(32, flip_prob=1.0),
        ApplyToFrames([dict(type='NumpyToPIL'), jitter]),
        PackFramePair(),
    ]
    frames = [scene(0), scene(0)[:, ::-1]]  # a view with a negative stride
    results = dict(frames=frames, sample_seed=1, video='v', frame_indices=(0, 1))
    for transform in pipeline:
        results = transform(results)
    assert all(t.shape == (3, 32, 32) and t.dtype == torch.uint8 for t in results['inputs'])
    assert results['data_samples'].flip is True and results['data_samples'].img_shape == (32, 32)
    packed = PackFramePair()(RandomResizedCropFrames(32, flip_prob=1.0)(dict(frames=frames)))
    assert all(tensor.is_contiguous() for tensor in packed['inputs'])


def test_input_is_left_alone():
    frame = scene()
    before = frame.copy()
    RandomResizedCropFrames(32, flip_prob=1.0)(dict(frames=[frame, frame]))
    assert np.array_equal(frame, before)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_and_repr(copied):
    transform = copied(TRANSFORMS.build(dict(type='RandomResizedCropFrames', scale=32)))
    assert repr(transform).startswith('RandomResizedCropFrames(scale=(32, 32), crop_ratio')
    assert repr(transform).endswith('interpolation=bicubic, backend=torch, flip_prob=0.0)')


def test_errors():
    with pytest.raises(ValueError, match="'lanczos' is neither 'bicubic' nor 'bilinear'"):
        RandomResizedCropFrames(32, 'lanczos')
    with pytest.raises(ValueError, match='flip_prob must be from 0 to 1, not 50'):
        RandomResizedCropFrames(32, flip_prob=50)
