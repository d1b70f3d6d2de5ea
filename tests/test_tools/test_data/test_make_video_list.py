import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmvideomac.datasets import FramePairDataset
from tests.test_datasets.helpers import make_frames

SCRIPT = Path(__file__).parents[3] / 'tools/data/make_video_list.py'
draw = runpy.run_path(str(SCRIPT))['draw']


@pytest.mark.parametrize('seed', [0, 1])
def test_draws_just_enough(seed):
    hours = np.random.default_rng(9).uniform(0.1, 1, 40)
    chosen = draw(hours, 5.58, seed)
    assert 5.58 <= hours[chosen].sum() < 5.58 + 1
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert not np.array_equal(chosen, draw(hours, 5.58, seed + 1))


def test_list_restricts_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    root, out = tmp_path / 'videos', tmp_path / 'list.txt'
    for i in range(4):
        make_frames(root / f'#{i}', 36)
    command = [sys.executable, SCRIPT, root, '--out', out, '--hours']
    result = subprocess.run([*command, '0.02', '--fps', '1'], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    dataset = FramePairDataset(str(root), ann_file=str(out))
    assert dataset.num_videos == 2 and len(dataset) == 2 * 35
    result = subprocess.run([*command, '9', '--fps', '1'], capture_output=True, text=True)
    assert result.returncode == 1 and 'less than 9' in result.stderr
    result = subprocess.run([*command, '0.02'], capture_output=True, text=True)
    assert result.returncode == 1 and '--fps' in result.stderr
    for arguments, message in (['-1', '--fps', '1'], 'positive'), (['1'], 'does not exist'):
        command[2] = root if message == 'positive' else tmp_path / 'nowhere'
        result = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert result.returncode == 1 and message in result.stderr.splitlines()[-1]
