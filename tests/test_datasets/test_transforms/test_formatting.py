import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.models.utils import SelfSupDataPreprocessor
from PIL import Image

from mmvideomac.datasets import PackFramePair


def results(seed=0):
    frames = list(np.random.RandomState(seed).randint(0, 256, (2, 8, 10, 3), np.uint8))
    return dict(frames=frames, sample_seed=2**62 + seed, video='v', frame_indices=(3, 4), junk=1)


def test_pack():
    data = results()
    packed = PackFramePair()(dict(data))
    assert set(packed) == {'inputs', 'data_samples'}
    for tensor, frame in zip(packed['inputs'], data['frames'], strict=True):
        assert tensor.dtype == torch.uint8 and tensor.is_contiguous()
        assert np.array_equal(tensor.permute(1, 2, 0), frame)
    assert packed['data_samples'].metainfo == dict(
        sample_seed=2**62, video='v', frame_indices=(3, 4)
    )


@pytest.mark.parametrize('convert', [Image.fromarray, lambda frame: frame[:, ::-1][:, ::-1]])
def test_pack_pil_images_and_views(convert):
    data = results()
    packed = PackFramePair()({**data, 'frames': [convert(frame) for frame in data['frames']]})
    for tensor, frame in zip(packed['inputs'], data['frames'], strict=True):
        assert np.array_equal(tensor.permute(1, 2, 0), frame)


def test_batch_reaches_the_model_normalised():
    batch = default_collate([PackFramePair()(results(seed)) for seed in range(3)])
    assert [tuple(t.shape) for t in batch['inputs']] == [(3, 3, 8, 10)] * 2
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    data = SelfSupDataPreprocessor(mean=mean, std=std)(batch)
    pixel = (results(2)['frames'][1][5, 6] - np.array(mean)) / std
    assert torch.allclose(data['inputs'][1][2, :, 5, 6].double(), torch.tensor(pixel), atol=1e-5)
    assert [sample.sample_seed for sample in data['data_samples']] == [2**62 + k for k in range(3)]
