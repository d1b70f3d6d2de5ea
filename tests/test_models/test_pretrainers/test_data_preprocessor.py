import pytest
import torch
from mmpretrain.models.utils import SelfSupDataPreprocessor

from mmvideomac.registry import MODELS

PIXELS = dict(mean=[124, 116, 104], std=[58, 57, 57])


@pytest.mark.parametrize('training', [True, False])
def test_frames_are_those_of_mmpretrain(training):
    torch.manual_seed(0)
    frames = [torch.randint(0, 256, (2, 3, 4, 6), dtype=torch.uint8) for _ in range(2)]
    data = dict(inputs=frames, data_samples=None)
    ours = MODELS.build(dict(type='FramePairDataPreprocessor', **PIXELS))(data, training)
    theirs = SelfSupDataPreprocessor(**PIXELS)(data, training)
    assert ours.keys() == theirs.keys()
    for frame, expected in zip(ours['inputs'], theirs['inputs'], strict=True):
        assert torch.equal(frame, expected)
    # Taken once in training; a batch to predict from can be read again.
    assert len(list(ours['inputs'])) == (0 if training else 2)
