"""Every config of label propagation builds, and is of the protocol that it is named after."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmvideomac.evaluation import PROTOCOLS
from mmvideomac.registry import DATASETS, METRICS, MODELS
from tests.test_evaluation.clips import write_davis, write_jhmdb, write_vip
from tests.test_models.utils import ARCH

ROOT = Path(__file__).parents[1] / 'configs' / 'benchmarks'
TASKS = dict(davis2017='davis', vip='vip', jhmdb='jhmdb')
WRITERS = dict(davis=write_davis, vip=write_vip, jhmdb=write_jhmdb)
CONFIGS = sorted(p.relative_to(ROOT) for task in TASKS for p in ROOT.glob(f'{task}/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_config_builds(path, tmp_path):
    cfg = Config.fromfile(ROOT / path)
    task = TASKS[path.parts[0]]
    cfg.model.backbone.arch = ARCH
    cfg.test_dataloader.dataset.data_root = str(WRITERS[task](tmp_path))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        metric = METRICS.build(cfg.test_evaluator)
        assert len(DATASETS.build(cfg.test_dataloader.dataset)) > 0
    assert (model.task, model.protocol.name) == (task, path.stem.removesuffix('_last_stage'))
    assert model.extractor.stages == [3 if 'last_stage' in path.stem else 2]
    assert model.extractor.stride == 8
    if task == 'jhmdb':
        assert metric.first_frame == model.settings.score_first_frame


def test_every_protocol_has_a_config_for_every_task():
    expected = {(folder, protocol) for folder in TASKS for protocol in PROTOCOLS}
    assert expected <= {(path.parts[0], path.stem) for path in CONFIGS}
