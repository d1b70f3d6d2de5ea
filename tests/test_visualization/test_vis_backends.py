"""The trackers of docs/pretrain.md get what they take: stand-ins record what mmengine calls."""

import errno
import json
import os
import sys
from contextlib import suppress
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import VISUALIZERS, DefaultScope
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.summary.writer.record_writer import RecordWriter

from mmvideomac.registry import VISBACKENDS
from mmvideomac.visualization import LocalVisBackend, vis_backends
from tests.test_docs.pages import listings
from tests.test_engine.tiny import REPOSITORY

SCALARS = {'loss': 0.5, 'davis/J&F': 40.0, 'jhmdb/PCK@0.1': 30.0}
IMAGE = np.zeros((4, 6, 3), np.uint8)
(DOCUMENTED,) = (
    text for text in listings(REPOSITORY / 'docs/pretrain.md', 'python') if 'VisBackend' in text
)


@pytest.fixture
def visualizer(tmp_path, monkeypatch):
    """The documented visualizer, with stand-ins for both trackers."""
    for name in ('mlflow', 'wandb'):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    sys.modules['mlflow'].get_experiment_by_name.return_value = None
    config = DOCUMENTED.replace("'configs/", f"'{REPOSITORY.as_posix()}/configs/")
    (tmp_path / 'config.py').write_text(config)
    cfg = Config.fromfile(tmp_path / 'config.py')
    cfg.work_dir = str(tmp_path)
    settings = dict(cfg.visualizer, name=tmp_path.name, save_dir=str(tmp_path))
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        visualizer = VISUALIZERS.build(settings)
    # mmengine looks at the newest logger's streams: one of an earlier test may be closed.
    MMLogger.get_instance(str(tmp_path))
    visualizer.add_config(cfg)
    visualizer.add_image('reconstruction', IMAGE, 1000)
    visualizer.add_scalars(SCALARS, step=7)
    visualizer.add_scalar('vip/mIoU', 3.0, step=8)
    visualizer.close()
    return SimpleNamespace(mlflow=sys.modules['mlflow'], wandb=sys.modules['wandb'], cfg=cfg)


def test_mlflow(visualizer):
    mlflow = visualizer.mlflow
    mlflow.set_tracking_uri.assert_called_once_with('sqlite:///work_dirs/mlflow.db')
    mlflow.create_experiment.assert_called_once_with(
        'videomac', artifact_location='work_dirs/mlflow'
    )
    (image, path), _ = mlflow.log_image.call_args
    assert path == 'reconstruction/00001000.png' and image is IMAGE
    renamed = {'loss': 0.5, 'davis/J_F': 40.0, 'jhmdb/PCK_0.1': 30.0}
    mlflow.log_metrics.assert_called_once_with(renamed, 7)
    mlflow.log_metric.assert_called_once_with('vip/mIoU', 3.0, 8)
    mlflow.log_params.assert_called_once()
    mlflow.end_run.assert_called_once()


def test_wandb(visualizer, tmp_path):
    wandb = visualizer.wandb
    settings = wandb.init.call_args.kwargs
    assert settings['mode'] == 'offline' and settings['dir'].startswith(str(tmp_path))
    wandb.define_metric.assert_called_once_with(name='*', step_metric='iter')
    wandb.config.update.assert_called_once_with(visualizer.cfg.to_dict(), allow_val_change=False)
    wandb.run.log_code.assert_not_called()
    wandb.Image.assert_called_once_with(IMAGE)
    logged = [call.args[0] for call in wandb.log.call_args_list]
    assert [*logged[0]] == ['reconstruction'] and logged[1:] == [SCALARS, {'vip/mIoU': 3.0}]
    wandb.join.assert_called_once()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_files_that_cannot_be_written_do_not_stop_a_run(tmp_path, monkeypatch):
    """The disk is full for one value, then there is room again."""
    said = []
    monkeypatch.setattr(vis_backends, 'print_log', lambda text, *_: said.append(text))
    backends = [
        VISBACKENDS.build(dict(type=f'mmvideomac.{name}VisBackend', save_dir=str(tmp_path)))
        for name in ('Local', 'Tensorboard')
    ]

    def add(step):
        for backend in backends:
            backend.add_scalars({'loss': 0.5}, step=step)
            if hasattr(backend.experiment, 'flush'):
                with suppress(OSError):
                    backend.experiment.flush()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    add(1)
    with monkeypatch.context() as patch:
        patch.setattr(LocalVisBackend, '_dump', full)
        patch.setattr(RecordWriter, 'write', full)
        add(2)
        add(3)
    for step in (4, 5):
        add(step)
    for backend in backends:
        backend.close()
    lines = (tmp_path / 'scalars.json').read_text().splitlines()
    assert [json.loads(line)['step'] for line in lines] == [1, 4, 5]
    files = sorted(tmp_path.glob('events.*'))
    steps = [
        event.step for file in files for event in EventFileLoader(str(file)).Load() if event.step
    ]
    assert len(files) > 1 and steps == [1, 4, 5]
    assert len(said) == 2
    for name, text in zip(('Local', 'Tensorboard'), said, strict=True):
        assert text.startswith(f'{name}VisBackend cannot write to {tmp_path}: ')
        assert 'No space left on device' in text
