import json

import pytest
import torch
from mmengine.config import Config

from mmvideomac.evaluation.pretraining_cost import pretraining_cost


@pytest.fixture
def work_dir(tmp_path):
    """A run of 40 iterations, two to an optimiser step, with a checkpoint after 30."""
    folder = tmp_path / 'run' / '20260102_030405' / 'vis_data'
    folder.mkdir(parents=True)
    records = [
        dict(iter=i, step=i, pairs_per_s=float(i), memory=1000 + i) for i in (10, 20, 30, 40)
    ]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    Config(dict(total_batch_size=64, optim_wrapper=dict(accumulative_counts=2))).dump(
        folder / 'config.py'
    )
    weights = dict(state_dict=dict(w=torch.zeros(1)))
    torch.save(dict(weights, meta=dict(iter=30)), tmp_path / 'run' / 'epoch_3.pth')
    torch.save(weights, tmp_path / 'run' / 'plain.pth')
    return tmp_path / 'run'


def test_up_to_the_checkpoint(work_dir):
    cost = pretraining_cost(work_dir / 'epoch_3.pth')
    assert cost == dict(pairs_per_s=20.0, memory=1030, samples=15 * 64)


def test_nothing_is_known(work_dir, tmp_path):
    assert pretraining_cost(work_dir / 'plain.pth') == {}
    (work_dir / 'epoch_3.pth').rename(tmp_path / 'epoch_3.pth')
    (work_dir / '20260102_030405/vis_data/scalars.json').unlink()
    assert pretraining_cost(tmp_path / 'epoch_3.pth') == {}
