"""The probe scores the encoder that is trained, and training does not notice."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.evaluation.benchmark import evaluate
from mmvideomac.registry import HOOKS
from mmvideomac.utils.files import AtomicLocalBackend
from tests.test_evaluation.clips import write_davis
from tests.test_tools.test_train import no_gpu
from tests.test_tools.test_train import train as run_tool

from .test_resume import assert_identical, state_of
from .tiny import REPOSITORY, tiny_config, write_videos
from .toy import build, train

CONFIGS = REPOSITORY / 'configs'


@HOOKS.register_module()
class BreakFrameHook(Hook):
    """Cuts a file at the end of an epoch, before the probe."""

    def __init__(self, path, epoch):
        self.path, self.epoch = Path(path), epoch

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epoch:
            self.path.write_bytes(self.path.read_bytes()[:2000])


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    (root / 'videos').mkdir()
    write_videos(root / 'videos')
    write_davis(root / 'davis')
    return root


def config(data, work_dir, probe=True, epochs=2, **options) -> Config:
    """5 steps per epoch; clips at their own size, 64x96."""
    cfg = tiny_config(data / 'videos', epochs=epochs, workers=0)
    cfg.model.backbone.drop_path_rate = 0.2
    cfg.default_hooks.record.write = False
    cfg.work_dir = str(work_dir)
    if probe:
        cfg.merge_from_dict(Config.fromfile(CONFIGS / '_base_/probes/davis2017.py').to_dict())
        cfg.val_dataloader.dataset.data_root = str(data / 'davis')
        cfg.val_cfg.protocol = 'crw'
        cfg.default_hooks.checkpoint.update(save_best='davis/J&F', max_keep_ckpts=1)
    cfg.merge_from_dict(options)
    adapt_to_cpu(cfg)
    return cfg


def scores(work_dir) -> dict[int, float]:
    """J&F by epoch, as TensorBoard shows it."""
    (folder,) = Path(work_dir).glob('*/vis_data')
    return {e.step: e.value for e in EventAccumulator(str(folder)).Reload().Scalars('davis/J&F')}


def log(work_dir) -> str:
    return '\n'.join(path.read_text() for path in sorted(Path(work_dir).glob('*/*.log')))


def evaluated(checkpoint: Path, data, work_dir) -> float:
    """J&F of a checkpoint, by tools/test.py's way."""
    cfg = Config.fromfile(CONFIGS / 'benchmarks/davis2017/crw.py')
    cfg.model.update(stride_method='resample', mean=[124, 116, 104], std=[58, 57, 57])
    cfg.model.backbone = config(data, work_dir).model.backbone
    cfg.test_dataloader.dataset.data_root = str(data / 'davis')
    cfg.work_dir = str(work_dir / 'evaluated')
    return evaluate(cfg, str(checkpoint)).metrics['davis/J&F']


@pytest.fixture(scope='module')
def runs(data, tmp_path_factory):
    """Without a seed for every iteration, that draws of the probe would show."""
    root = tmp_path_factory.mktemp('runs')
    trained = {}
    for name in ('probed', 'plain'):
        cfg = config(data, root / name, name == 'probed')
        del cfg.default_hooks['reproducibility']
        trained[name] = train(cfg)
    return root, trained


def test_training_does_not_notice(runs):
    (probed, record), (plain, reference) = runs[1].values()
    assert len(record.trace) == 10 and record.trace == reference.trace
    assert_identical(state_of(probed), state_of(plain))


def test_scores_reach_log_and_tensorboard(runs):
    work_dir = runs[0] / 'probed'
    values = scores(work_dir)
    assert list(values) == [1, 2] and values[1] != values[2]
    text = log(work_dir)
    assert 'Probe of 3 clips: crw, stage 3, stride 8 (resample)' in text
    for epoch, value in values.items():
        assert re.search(rf'Epoch\(val\) \[{epoch}\]\[3/3\] +davis/J&F: {value:.4f} ', text)
    assert 'probe_time: ' in text
    (folder,) = work_dir.glob('*/vis_data')
    steps = [event.step for event in EventAccumulator(str(folder)).Reload().Scalars('time')]
    assert steps == sorted(steps)  # of training alone


def test_best_checkpoint_is_that_of_the_best_score(runs, data, tmp_path):
    values = scores(runs[0] / 'probed')
    (path,) = (runs[0] / 'probed').glob('best_*')
    assert path.name == f'best_davis_J_F_epoch_{max(values, key=values.get)}.pth'
    saved = torch.load(path)
    assert 'optimizer' not in saved and saved['meta']['iter'] % 5 == 0
    assert evaluated(path, data, tmp_path) == pytest.approx(max(values.values()), abs=1e-4)


@pytest.mark.parametrize('network', ['online', 'target'])
def test_the_encoder_of_the_moment_is_scored(data, tmp_path, network):
    cfg = config(data, tmp_path, **{'val_cfg.network': network})
    cfg.model.backbone = dict(
        type='SparseResNet', depth=18, base_channels=16, stem_channels=16, norm_cfg=dict(type='BN')
    )
    cfg.model.head.in_channels = 128
    runner = build(cfg)
    model, loop = runner.model.train(), runner.val_loop
    source = model.backbone if network == 'online' else model.target.backbone
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.uniform_(-0.1, 0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    loop._process_clips()
    assert_identical(dict(loop.model.extractor.backbone.state_dict()), dict(source.state_dict()))
    assert_identical(dict(model.state_dict()), before)  # the statistics of batch norms too
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in loop.model.modules())
    assert loop.model.mean.flatten().tolist() == [124, 116, 104]
    assert loop.model.std.flatten().tolist() == [58, 57, 57]


def test_best_survives_a_resume(data, tmp_path, monkeypatch):
    values, events = iter([50.0, 40.0, 60.0]), []
    monkeypatch.setattr(
        'mmvideomac.evaluation.metrics.DAVISMetric.compute_metrics',
        lambda *_: {'J&F': next(values)},
    )
    put, remove = AtomicLocalBackend.put, AtomicLocalBackend.remove

    def logged_put(self, obj, path):
        put(self, obj, path)
        events.append(f'put {Path(path).name}')

    def logged_remove(self, path):
        remove(self, path)
        events.append(f'remove {Path(path).name}')

    monkeypatch.setattr(AtomicLocalBackend, 'put', logged_put)
    monkeypatch.setattr(AtomicLocalBackend, 'remove', logged_remove)
    with pytest.raises(RuntimeError, match='crash'):
        train(config(data, tmp_path, epochs=3, **{'default_hooks.record.crash_after': 7}))
    assert (tmp_path / 'best_davis_J_F_epoch_1.pth').exists()
    events.clear()
    runner, _ = train(config(data, tmp_path, epochs=3, resume=True))
    assert runner.message_hub.get_info('best_score') == 60
    # 40 is below 50. The former best goes only when the new one, and a checkpoint that
    # knows of it, are complete.
    assert [event for event in events if '_3' in event or 'best' in event] == [
        'put epoch_3.pth',
        'put best_davis_J_F_epoch_3.pth',
        'put epoch_3.pth',
        'remove best_davis_J_F_epoch_1.pth',
    ]
    saved = torch.load(tmp_path / 'epoch_3.pth')['message_hub']['runtime_info']
    assert saved['best_ckpt'] == str(tmp_path / 'best_davis_J_F_epoch_3.pth')
    assert 'davis/J&F 60.00 is the best so far' in log(tmp_path)


def test_a_probe_that_fails_does_not_stop_training(tmp_path):
    """A frame breaks between two probes; nor does a score that there is not."""
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    frame = write_davis(tmp_path / 'davis') / 'JPEGImages/480p/b/00003.png'
    cfg = config(tmp_path, tmp_path / 'work', epochs=3, **{'train_cfg.val_interval': 2})
    cfg.default_hooks.breaker = dict(type='BreakFrameHook', path=str(frame), epoch=3)
    cfg.default_hooks.checkpoint.update(save_best='davis/JF', rule='greater')
    _, record = train(cfg)
    assert len(record.trace) == 15
    assert list(scores(tmp_path / 'work')) == [2]
    text = log(tmp_path / 'work')
    assert f'The probe after epoch 3 failed: no score, training goes on. {frame}: ' in text
    assert 'Traceback' not in text
    assert "save_best='davis/JF' is none of the scores: davis/J&F, davis/J_mean" in text


def test_an_unexpected_failure_is_told_in_full(data, tmp_path, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError('no memory')

    monkeypatch.setattr('mmvideomac.evaluation.LabelPropagation.encode', fail)
    _, record = train(config(data, tmp_path, epochs=1))
    assert len(record.trace) == 5
    assert 'no score, training goes on. Traceback' in log(tmp_path)


@pytest.mark.parametrize(
    'options, error, message',
    [
        ({'val_dataloader.dataset.data_root': '/none'}, OSError, 'data_root /none does not exist'),
        ({'val_dataloader.dataset.sequences': ['x']}, ValueError, 'has no clip x; it has a, b, c'),
        ({'val_cfg.protocol': 'x'}, ValueError, "unknown protocol 'x': there are dino"),
        ({'val_cfg.stage': 5}, ValueError, 'has the stages 1 to 4'),
        ({'val_cfg.network': 'x'}, ValueError, "unknown network 'x'"),
        (dict(val_dataloader=None, val_evaluator=None, val_cfg=None), ValueError, 'needs scores'),
        (
            {'default_hooks.checkpoint.save_best': ['davis/J&F', 'vip/mIoU']},
            ValueError,
            'by one score',
        ),
    ],
)
def test_wrong_settings_are_an_error_before_training(data, tmp_path, options, error, message):
    cfg = config(data, tmp_path, **{'default_hooks.record.crash_after': 1})
    cfg.merge_from_dict(options)
    with pytest.raises(error, match=message):
        train(cfg)


@no_gpu
def test_two_processes(data, tmp_path):
    """The first probe is as in one process; then a frame breaks in the share of one."""
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    frame = write_davis(tmp_path / 'davis') / 'JPEGImages/480p/b/00003.png'
    cfg = config(tmp_path, tmp_path / 'work')
    cfg.custom_imports.imports += ['tests.test_engine.test_label_propagation_probe']
    cfg.default_hooks.breaker = dict(type='BreakFrameHook', path=str(frame), epoch=2)
    cfg.dump(tmp_path / 'config.py')
    run = run_tool(tmp_path / 'config.py', '--work-dir', cfg.work_dir, processes=2)
    assert run.returncode == 0, run.stderr
    (path,) = Path(cfg.work_dir).glob('best_*')
    one = evaluated(path, data, tmp_path)
    assert scores(cfg.work_dir) == {1: pytest.approx(one, abs=1e-4)}
    assert 'The probe after epoch 2 failed' in log(cfg.work_dir)
