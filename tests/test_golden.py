"""Numbers of reference implementations (see the golden README)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.golden_check import check

ROOT = os.environ.get('MMVIDEOMAC_TEST_DATA')
FILES = ('videomac_convnextv1.pt', 'videomac_convnextv2.pt')

pytestmark = pytest.mark.skipif(not ROOT, reason='MMVIDEOMAC_TEST_DATA names no data folder')


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('backend', ['native', 'masked'])
def test_released_training_steps(name, backend):
    assert check(Path(ROOT, 'golden', name), backend)


def test_a_wrong_number_fails(tmp_path):
    golden = torch.load(Path(ROOT, 'golden', FILES[0]), weights_only=True)
    golden['losses'][3, 2] += 0.01
    torch.save(golden, tmp_path / 'wrong.pt')
    script = Path(__file__).with_name('golden_check.py')
    result = subprocess.run(
        [sys.executable, script, tmp_path / 'wrong.pt', '--backend', 'native'],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stdout.count('FAIL') == 1 and 'losses, 5 steps' in result.stdout


def test_weights_made_from_a_seed(tmp_path):
    from tests.golden_check import released_weights

    golden = torch.load(Path(ROOT, 'golden', 'videomac_resnet18.pt'), weights_only=True)
    weights = released_weights(golden)
    assert {k: tuple(v.shape) for k, v in weights.items()} == {
        k: tuple(v) for k, v in golden['state_dict_shapes'].items()
    }
    assert weights['encoder.layer1.0.conv1.kernel'].std().item() == pytest.approx(
        (9 * 64) ** -0.5, rel=0.05
    )
