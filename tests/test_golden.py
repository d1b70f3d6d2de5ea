"""Numbers of reference implementations (see the golden README)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmvideomac.models.sparse import BACKENDS
from tests.golden.training import released_weights, train
from tests.golden_check import check
from tests.test_checkpoint.test_official_weights import as_released, official_resnet
from tests.test_models.utils import random_mask

ROOT = os.environ.get('MMVIDEOMAC_TEST_DATA')
FILES = ('videomac_convnextv1.pt', 'videomac_convnextv2.pt', 'videomac_resnet18.pt')

pytestmark = pytest.mark.skipif(not ROOT, reason='MMVIDEOMAC_TEST_DATA names no data folder')


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('backend', sorted(BACKENDS))
def test_released_training_steps(name, backend):
    assert check(Path(ROOT, 'golden', name), [backend], None)


def test_a_wrong_number_fails(tmp_path):
    golden = torch.load(Path(ROOT, 'golden', FILES[0]), weights_only=True)
    golden['losses'][3, 2] += 0.01
    torch.save(golden, tmp_path / 'wrong.pt')
    result = run(tmp_path / 'wrong.pt', '--backend', 'native')
    assert result.returncode == 1
    assert result.stdout.count('FAIL') == 1 and 'losses, 5 steps' in result.stdout


def run(*args):
    script = Path(__file__).with_name('golden_check.py')
    return subprocess.run([sys.executable, script, *args], capture_output=True, text=True)


def test_files_of_evaluation(tmp_path):
    names = ('label_propagation.pt', 'davis_metric.json', 'pck_vip_metrics.json')
    files = [Path(ROOT, 'golden', name) for name in names]
    result = run(*files, '--data', Path(ROOT, 'data'))
    assert result.returncode == 0 and 'FAIL' not in result.stdout, result.stdout + result.stderr
    assert all(name in result.stdout for name in names)

    assert '--data' in run(files[1]).stderr
    golden = torch.load(files[0], weights_only=True)
    golden['crw']['soft'][5, 1, 3, 3] += 2e-5
    torch.save(golden, tmp_path / 'wrong.pt')
    result = run(tmp_path / 'wrong.pt')
    assert result.returncode == 1 and result.stdout.count('FAIL') == 1


@pytest.mark.parametrize('content', ['{"a": 1}', '{', ''])
def test_other_files(tmp_path, content):
    (tmp_path / 'other.json').write_text(content)
    result = run(tmp_path / 'other.json')
    assert result.returncode == 1 and 'is not a golden file' in result.stderr


def test_weights_made_from_a_seed(tmp_path):
    golden = torch.load(Path(ROOT, 'golden', 'videomac_resnet18.pt'), weights_only=True)
    weights = released_weights(golden)
    assert {k: tuple(v.shape) for k, v in weights.items()} == {
        k: tuple(v) for k, v in golden['state_dict_shapes'].items()
    }
    assert weights['encoder.layer1.0.conv1.kernel'].std().item() == pytest.approx(
        (9 * 64) ** -0.5, rel=0.05
    )


@pytest.fixture(scope='module')
def resnet50_file(tmp_path_factory):
    """A file with stored weights for another depth; its numbers are our dense reference's."""
    model = official_resnet(50, sparse_backend='masked')
    golden = dict(
        meta=dict(mode='ResNet50', decoder_dim=16, decoder_depth=1, size=64, batch=2),
        frame1=torch.randn(2, 2, 3, 64, 64).half(),
        frame2=torch.randn(2, 2, 3, 64, 64).half(),
        mask=torch.stack([random_mask(2, (2, 2), 2, seed).flatten(1) for seed in range(2)]),
        online_state_dict=dict(
            as_released(name, value.clone())
            for name, value in model.state_dict().items()
            if not name.startswith('target.')
        ),
    )
    names = {name: as_released(name, p)[0] for name, p in model.named_parameters()}
    golden.update(train(model, golden))
    for key in ('grad_norm', 'final_param_norm'):
        golden[key] = {names[name]: norm for name, norm in golden[key].items()}
    path = tmp_path_factory.mktemp('golden') / 'resnet50.pt'
    torch.save(golden, path)
    return path


@pytest.mark.parametrize('backend', sorted(BACKENDS))
def test_a_file_for_resnet50(resnet50_file, backend):
    assert check(resnet50_file, [backend], None)
