import copy
import pickle

import numpy as np
import pytest
from mmengine.registry import DefaultScope

from mmvideomac.datasets.randomness import seeded
from mmvideomac.datasets.transforms import ApplyToFrames
from mmvideomac.registry import TRANSFORMS

CROP = dict(
    type='RandomResizedCrop',
    scale=32,
    crop_ratio_range=(0.2, 1.0),
    interpolation='bicubic',
    backend='pillow',
)
FLIP = dict(type='RandomFlip', prob=0.5)
JITTER = [
    dict(type='NumpyToPIL'),
    dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    dict(type='PILToNumpy'),
]


@pytest.fixture
def image():
    return np.random.RandomState(0).randint(0, 256, (60, 80, 3), np.uint8)


def twins(image):
    return dict(frames=[image, image.copy()], video='v', img_shape=image.shape[:2])


@pytest.mark.parametrize('transforms', [[CROP], [FLIP], JITTER, [CROP, FLIP, *JITTER]])
def test_both_frames_get_the_same(image, transforms):
    transform = ApplyToFrames(transforms)
    outputs = []
    with seeded(0):
        for _ in range(20):
            first, second = transform(twins(image))['frames']
            assert np.array_equal(first, second)
            outputs.append(first.tobytes())
    assert len(set(outputs)) >= (2 if transforms == [FLIP] else 20)  # and the next pair another


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_still_shared_after_use_and_copy(image, copied):
    transform = ApplyToFrames([CROP, FLIP])
    transform(twins(image))
    transform = copied(transform)
    for _ in range(10):
        assert np.array_equal(*transform(twins(image))['frames'])


def test_crop_is_the_same_region():
    """Two frames whose pixels tell their place: the crops differ by exactly what they differ."""
    y, x = np.mgrid[:60, :80]
    first = np.stack([y, x, y], -1).astype(np.uint8)
    with seeded(3):
        results = ApplyToFrames([CROP])(dict(frames=[first, first + 100]))
    difference = results['frames'][1].astype(int) - results['frames'][0]
    assert (difference == 100).all()


def test_not_shared(image):
    transform = ApplyToFrames([CROP, FLIP], share_random_params=False)
    with seeded(0):
        outputs = [transform(twins(image)) for _ in range(20)]
    assert not any(np.array_equal(*out['frames']) for out in outputs)
    assert all(out['video'] == 'v' for out in outputs)
    assert len({tuple(out['flip']) for out in outputs}) == 4


def test_what_transforms_add_is_kept(image):
    results = ApplyToFrames([dict(type='RandomFlip', prob=1.0)])(twins(image))
    assert results['flip'] is True and results['video'] == 'v'
    assert np.array_equal(results['frames'][1], image[:, ::-1])
    assert 'img' not in results


def test_random_state_advances_as_for_one_frame(image):
    with seeded(0):
        ApplyToFrames([FLIP])(twins(image))
        after_pair = np.random.rand()
    with seeded(0):
        ApplyToFrames([FLIP])(dict(frames=[image]))
        assert np.random.rand() == after_pair


def test_crops_are_distributed_as_in_torchvision():
    """Area, aspect ratio, position of 4000 crops against torchvision's own parameters.

    Two-sample Kolmogorov-Smirnov; the generators differ, so only the laws can agree.
    """
    from scipy.stats import ks_2samp
    from torch import zeros
    from torchvision.transforms import RandomResizedCrop

    crop = TRANSFORMS.build(CROP)
    image = np.zeros((180, 320, 3), np.uint8)
    with seeded(0):
        ours = [crop.rand_crop_params(image) for _ in range(4000)]
        tensor = zeros(3, 180, 320)
        theirs = [
            RandomResizedCrop.get_params(tensor, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)
        ]

    def describe(params):
        top, left, height, width = np.array(params, dtype=float).T
        free_y, free_x = np.maximum(180 - height, 1), np.maximum(320 - width, 1)
        area = height * width / (180 * 320)
        return dict(area=area, ratio=width / height, y=top / free_y, x=left / free_x)

    ours, theirs = describe(ours), describe(theirs)
    for name in ours:
        assert ks_2samp(ours[name], theirs[name]).pvalue > 1e-3, name
    assert ours['area'].min() > 0.195 and ours['area'].max() <= 1
    assert ours['ratio'].min() > 0.73 and ours['ratio'].max() < 1.36


def test_crop_and_resize_equal_torchvision(image):
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resized_crop

    crop = TRANSFORMS.build(CROP)
    with seeded(1):
        box = crop.rand_crop_params(image)
    with seeded(1):
        (ours,) = ApplyToFrames([crop])(dict(frames=[image]))['frames']
    bicubic = InterpolationMode.BICUBIC
    assert np.array_equal(ours, resized_crop(Image.fromarray(image), *box, (32, 32), bicubic))


@pytest.mark.parametrize(
    ('scope', 'name'),
    [
        (None, 'ApplyToFrames'),
        ('mmvideomac', 'ApplyToFrames'),
        ('mmpretrain', 'mmvideomac.ApplyToFrames'),
    ],
)
def test_builds_in_any_default_scope(scope, name):
    with DefaultScope.overwrite_default_scope(scope):
        transform = TRANSFORMS.build(dict(type=name, transforms=[CROP, FLIP, *JITTER]))
    assert isinstance(transform, ApplyToFrames) and len(transform.transforms) == 5
    assert 'RandomResizedCrop' in repr(transform)


def test_a_deterministic_centre_crop_from_the_library(image):
    """What evaluation and pictures use."""
    transform = ApplyToFrames(
        [
            dict(
                type='ResizeEdge', scale=32, edge='short', interpolation='bicubic', backend='pillow'
            ),
            dict(type='CenterCrop', crop_size=32),
        ]
    )
    first, second = transform(twins(image))['frames']
    assert first.shape == (32, 32, 3) and np.array_equal(first, second)
