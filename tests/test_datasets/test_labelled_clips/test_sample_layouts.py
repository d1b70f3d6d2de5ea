"""The sample sets that tools/data/make_sample_videos.py writes are read as they are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmvideomac.datasets.labelled_clips import DAVISDataset, JHMDBDataset, VIPDataset

pytest.importorskip('skimage')
TOOL = Path(__file__).parents[3] / 'tools' / 'data' / 'make_sample_videos.py'


@pytest.fixture(scope='module')
def samples(tmp_path_factory):
    out = tmp_path_factory.mktemp('samples')
    command = [sys.executable, TOOL, out, '--clips', '1', '--frames', '6', '--size', '80x128']
    subprocess.run(command, check=True, capture_output=True)
    return out


def test_sample_sets(samples):
    for dataset, frames in (
        (DAVISDataset(samples / 'davis'), 6),
        (VIPDataset(samples / 'vip'), 2),
        (JHMDBDataset(samples / 'jhmdb'), 6),
    ):
        assert len(dataset) >= 3
        for item in dataset:
            sample = item['data_samples']
            assert len(item['inputs']) == frames
            assert sample.ori_shape == (80, 128) == item['inputs'][0].shape[:2]
            assert np.isfinite(sample.first_label).all() and sample.first_label.any()
