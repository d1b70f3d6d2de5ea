import os

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmvideomac.engine import launch
from mmvideomac.engine.gpu_memory import explains_gpu_memory
from mmvideomac.utils.errors import UserError

from .tiny import SGD, tiny_config, write_videos
from .toy import train

cuda = pytest.mark.skipif(torch.cuda.is_available(), reason='what happens without a GPU')


def config(batch_size=64, **options):
    return Config(
        dict(
            train_dataloader=dict(
                batch_size=batch_size, num_workers=2, sampler=dict(type='EpochSampler')
            ),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0)),
            launcher='none',
            **options,
        )
    )


@pytest.mark.parametrize(
    'batch_size, processes, expected',
    [(64, 8, (64, 1)), (64, 16, (32, 1)), (64, 1, (64, 8)), (64, 2, (64, 4)), (1024, 1, (512, 1))],
)
def test_total_batch_size_is_kept(batch_size, processes, expected):
    cfg = config(batch_size, total_batch_size=512)
    note = launch.set_batch_size(cfg, processes)
    batch, accumulation = expected
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.optim_wrapper.accumulative_counts == accumulation
    assert batch * accumulation * processes == 512
    assert cfg.train_dataloader.drop_last
    assert cfg.train_dataloader.sampler.get('multiple_of', 1) == (512 if accumulation > 1 else 1)
    assert note == (
        f'512 samples per optimiser step = batch size {batch} x {processes} process(es) x '
        f'{accumulation} accumulated iteration(s)'
    )


@pytest.mark.parametrize(
    'batch_size, total, processes, hint',
    [
        (48, 512, 1, r'train_dataloader\.batch_size=32 or 64'),
        (200, 512, 1, r'train_dataloader\.batch_size=128 or 256'),
        (64, 512, 3, 'multiple of 3, for example total_batch_size=576'),
        (64, 2, 4, 'multiple of 4, for example total_batch_size=4'),
    ],
)
def test_uneven_split_suggests_values(batch_size, total, processes, hint):
    with pytest.raises(UserError, match=hint):
        launch.set_batch_size(config(batch_size, total_batch_size=total), processes)


def test_suggested_values_work():
    for batch_size in (32, 64):
        launch.set_batch_size(config(batch_size, total_batch_size=512), 1)
    launch.set_batch_size(config(64, total_batch_size=576), 3)


def test_auto_scale_lr_keeps_the_batch_size():
    cfg = config(64, total_batch_size=512, auto_scale_lr=dict(enable=True, base_batch_size=512))
    note = launch.set_batch_size(cfg, 2)
    assert cfg.train_dataloader.batch_size == 64
    assert cfg.optim_wrapper.accumulative_counts == 1
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=512)
    assert note.endswith('learning rate scaled by 128/512')


def test_without_a_total_the_config_is_kept():
    cfg = config(4)
    cfg.optim_wrapper.accumulative_counts = 3
    assert launch.set_batch_size(cfg, 2).startswith('24 samples per optimiser step')
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.optim_wrapper.accumulative_counts == 3
    assert cfg.train_dataloader.sampler.multiple_of == 24


@cuda
def test_missing_gpu():
    launch.check_device('auto', local_rank=0)
    with pytest.raises(UserError, match='--device cuda, but torch sees no GPU'):
        launch.check_device('cuda', local_rank=0)


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    launch.check_device('cuda', local_rank=3)
    with pytest.raises(UserError, match=r'Process 4 of this machine has no GPU .* 4 visible'):
        launch.check_device('auto', local_rank=4)


def test_driver_too_old(monkeypatch):
    def init():
        raise RuntimeError('The NVIDIA driver on your system is too old (found version 12040).')

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'init', init)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    for device in ('auto', 'cuda'):  # never hours on the CPU by mistake
        with pytest.raises(UserError, match=r'built for CUDA 13\.0 \(it goes up to CUDA 12\.4\)'):
            launch.check_device(device, local_rank=0)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    launch.check_device('auto', local_rank=0)
    with pytest.raises(UserError, match='CUDA_VISIBLE_DEVICES=-1'):
        launch.check_device('cuda', local_rank=0)


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Adapts a config to a GPU that is not there: (config, does it multiply bfloat16) -> notes."""

    def adapt(cfg, bfloat16):
        support = lambda including_emulation: bfloat16  # noqa: E731
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', support)
        return launch.adapt_to_gpu(cfg)

    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield adapt
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize(
    'bfloat16, asked, dtype, scale',
    [
        (True, None, 'bfloat16', dict(enabled=False)),
        (False, None, 'float16', 'dynamic'),
        (True, 'float16', 'float16', 'dynamic'),
        (False, 'bfloat16', 'bfloat16', dict(enabled=False)),
    ],
)
def test_amp_on_a_gpu(on_a_gpu, bfloat16, asked, dtype, scale):
    cfg = config()
    cfg.optim_wrapper.update(type='FiniteAmpOptimWrapper', loss_scale='dynamic', dtype=asked)
    assert on_a_gpu(cfg, bfloat16) == [f'Mixed precision in {dtype}.']
    assert (cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == (dtype, scale)
    assert 'model_wrapper_cfg' not in cfg


def test_float32_on_a_gpu(on_a_gpu, monkeypatch):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    for allowed in (True, False):
        cfg = config(env_cfg=dict(allow_tf32=allowed), randomness=dict(deterministic=not allowed))
        assert ('TF32' in ''.join(on_a_gpu(cfg, True))) == allowed
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
        # Without it torch refuses products of deterministic runs.
        assert ('CUBLAS_WORKSPACE_CONFIG' in os.environ) != allowed
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')


def test_several_gpus_keep_gradients_once(on_a_gpu):
    cfg = config()
    cfg.launcher = 'pytorch'
    on_a_gpu(cfg, True)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=False,
        gradient_as_bucket_view=True,
    )
    own = config(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel'))
    own.launcher = 'pytorch'
    on_a_gpu(own, True)
    assert own.model_wrapper_cfg == dict(type='MMFullyShardedDataParallel')


def test_too_little_gpu_memory(monkeypatch):
    gib = 2**30
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (gib // 2, 16 * gib))
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 11 * gib)
    monkeypatch.setattr(torch.cuda, 'memory_reserved', lambda: 12 * gib)
    cfg = config(64, total_batch_size=512)
    with pytest.raises(UserError) as caught, explains_gpu_memory(cfg):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has')
    message = str(caught.value)
    assert 'of 16.0 GiB the training holds 11.0, other programs 3.5. 2.00 GiB more' in message
    assert 'lower train_dataloader.batch_size from 64, to 32' in message
    assert 'a step stays as large' in message and 'with_cp=True' in message and '--amp' in message


def test_work_dir_must_be_writable(tmp_path):
    launch.check_work_dir(str(tmp_path / 'new' / 'folder'))
    assert not os.listdir(tmp_path / 'new' / 'folder')
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'Cannot write to the work directory .*file/run: Not a'):
        launch.check_work_dir(str(tmp_path / 'file' / 'run'))


def amp_on_a_cpu(monkeypatch, multiplies: bool, **options):
    monkeypatch.setattr(launch, 'multiplies', lambda dtype: multiplies)
    cfg = config()
    cfg.optim_wrapper.update(type='AmpOptimWrapper', **options)
    (note,) = launch.adapt_to_cpu(cfg)
    return cfg.optim_wrapper.type, note


def test_bfloat16_on_a_cpu_that_multiplies_it_where_the_config_asks_for_it(monkeypatch):
    wrapper, note = amp_on_a_cpu(monkeypatch, True, dtype='bfloat16', loss_scale='dynamic')
    assert wrapper == 'mmvideomac.CPUAmpOptimWrapper'
    assert 'in bfloat16' in note
    for multiplies, options in ((False, dict(dtype='bfloat16')), (True, {}), (False, {})):
        wrapper, note = amp_on_a_cpu(monkeypatch, multiplies, **options)
        assert wrapper == 'OptimWrapper'
        assert 'training in float32' in note
        assert ('bfloat16' in note) == (multiplies or bool(options))


def test_amp_falls_back_without_a_gpu(monkeypatch):
    monkeypatch.setattr(launch, 'multiplies', lambda dtype: False)
    cfg = config()
    cfg.optim_wrapper.update(
        type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16', clip_grad=dict(max_norm=1)
    )
    notes = launch.adapt_to_cpu(cfg)
    assert len(notes) == 1
    assert 'mixed precision' in notes[0]
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert cfg.optim_wrapper.keys() == {'type', 'optimizer', 'clip_grad'}
    assert launch.adapt_to_cpu(config()) == []
    assert 'model_wrapper_cfg' not in cfg


def test_processes_without_gpus_get_a_plain_wrapper():
    norms = [dict(type='SyncBN', requires_grad=True), dict(type='BN')]
    cfg = config(find_unused_parameters=True, model=dict(backbone=dict(norms=norms)))
    cfg.launcher = 'pytorch'
    launch.adapt_to_cpu(cfg)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=True,
        gradient_as_bucket_view=True,
    )
    assert cfg.model.backbone.norms == [
        dict(type='mmvideomac.CPUSyncBN', requires_grad=True),
        dict(type='BN'),
    ]


def test_process_info(monkeypatch):
    assert launch.process_info('none') == (0, 1, 0)
    for name in ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match='SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID'):
        launch.process_info('slurm')
    monkeypatch.setenv('SLURM_PROCID', '5')
    monkeypatch.setenv('SLURM_NTASKS', '8')
    monkeypatch.setenv('SLURM_LOCALID', '1')
    assert launch.process_info('slurm') == (5, 8, 1)


def checkpoint(path):
    torch.save(dict(meta=dict(iter=1), state_dict={}, optimizer={}), path)
    return str(path)


def test_resume_auto_takes_the_newest(tmp_path):
    path = checkpoint(tmp_path / 'epoch_1.pth')
    cfg = config(work_dir=str(tmp_path))
    assert launch.set_checkpoint(cfg, 'auto') == f'Resuming {path}.'
    assert cfg.resume is True
    assert cfg.load_from == path
    from_config = config(work_dir=str(tmp_path), resume=True)
    launch.set_checkpoint(from_config, None)
    assert from_config.load_from == path


def test_resume_auto_without_a_checkpoint_starts_as_configured(tmp_path):
    cfg = config(work_dir=str(tmp_path))
    assert 'from the beginning' in launch.set_checkpoint(cfg, 'auto')
    assert cfg.resume is False and cfg.get('load_from') is None
    (tmp_path / 'elsewhere').mkdir()
    path = checkpoint(tmp_path / 'elsewhere' / 'weights.pth')
    cfg = config(work_dir=str(tmp_path), load_from=path)
    assert launch.set_checkpoint(cfg, 'auto') == f'Starting from the weights of {path}.'
    assert cfg.resume is False and cfg.load_from == path


def test_where_torchrun_restarts_the_newest_is_resumed(tmp_path, monkeypatch):
    """Whatever was asked for: else every start would begin there again."""
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '3')
    (tmp_path / 'run').mkdir()
    asked = checkpoint(tmp_path / 'asked.pth')
    cfg = config(work_dir=str(tmp_path / 'run'))
    assert launch.set_checkpoint(cfg, asked) == f'Resuming {asked}.'
    assert 'from the beginning' in launch.set_checkpoint(config(work_dir=cfg.work_dir), None)
    newest = checkpoint(tmp_path / 'run' / 'epoch_1.pth')
    for resume in (asked, 'auto', None):
        cfg = config(work_dir=str(tmp_path / 'run'), load_from=asked)
        assert launch.set_checkpoint(cfg, resume) == f'Resuming {newest}.'
        assert cfg.resume is True
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '0')
    assert launch.set_checkpoint(cfg, asked) == f'Resuming {asked}.'


def test_bad_checkpoints_are_refused(tmp_path):
    path = checkpoint(tmp_path / 'epoch_1.pth')
    with pytest.raises(UserError, match=r'none\.pth does not exist'):
        launch.set_checkpoint(config(work_dir=str(tmp_path)), str(tmp_path / 'none.pth'))
    with open(path, 'r+b') as file:
        file.truncate(200)
    with pytest.raises(UserError, match=r'epoch_1\.pth is incomplete'):
        launch.set_checkpoint(config(work_dir=str(tmp_path)), path)
    with pytest.raises(UserError, match='incomplete'):
        launch.set_checkpoint(config(work_dir=str(tmp_path), load_from=path), None)
    cfg = config(work_dir=str(tmp_path), load_from='https://example.org/weights.pth')
    assert launch.set_checkpoint(cfg, None).startswith('Starting from the weights of https')
    assert launch.set_checkpoint(config(work_dir=str(tmp_path)), None) is None


@cuda
def test_prepare(tmp_path):
    cfg = config(total_batch_size=128, work_dir=str(tmp_path))
    cfg.optim_wrapper.type = 'FiniteAmpOptimWrapper'
    cfg.train_dataloader.update(num_workers=0, persistent_workers=True)
    notes = launch.prepare(cfg)
    assert [note.split()[0] for note in notes] == ['128', 'No', 'Products']
    assert 'persistent_workers' not in cfg.train_dataloader
    assert cfg.optim_wrapper.accumulative_counts == 2


@cuda
def test_accumulated_batches_train_like_one_large_batch(tmp_path):
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')

    def losses(batch_size):
        cfg = tiny_config(tmp_path / 'videos', epochs=2, workers=0, **SGD)
        cfg.train_dataloader.batch_size = batch_size
        cfg.work_dir = str(tmp_path / str(batch_size))
        launch.prepare(cfg)
        trace = train(cfg)[1].trace
        values = np.array([values[:2] for values in trace.values()])  # loss, learning rate
        return values.reshape(10, -1, 2)

    whole = losses(8)[:, 0]
    for batch_size in (4, 2):
        parts = losses(batch_size)
        np.testing.assert_allclose(parts[..., 0].mean(axis=1), whole[:, 0], atol=1e-5)
        # The rate of the iteration that takes the step, before the scheduler moves on.
        np.testing.assert_allclose(parts[:, -1, 1], whole[:, 1], rtol=1e-12)


def test_any_default_hook_can_be_disabled():
    cfg = Config(dict(default_hooks=dict(timer=None, throughput=None, logger=dict(type='L'))))
    launch.drop_disabled_hooks(cfg)
    assert cfg.default_hooks == dict(timer=None, logger=dict(type='L'))
