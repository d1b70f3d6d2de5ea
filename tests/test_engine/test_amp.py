import pytest
import torch

from tests.test_engine.tiny import tiny_config, write_videos
from tests.test_engine.toy import train

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='would train on the GPU')
WRAPPERS = [
    pytest.param(dict(type='CPUAmpOptimWrapper'), id='CPU', marks=on_cpu),
    pytest.param(
        dict(type='FiniteAmpOptimWrapper', dtype='bfloat16', loss_scale=dict(enabled=False)),
        id='bfloat16',
        marks=pytest.mark.gpu,
    ),
    pytest.param(
        # From a scale that fits, so that no step is left out.
        dict(type='FiniteAmpOptimWrapper', dtype='float16', loss_scale=dict(init_scale=256.0)),
        id='float16',
        marks=pytest.mark.gpu,
    ),
]


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_losses_are_those_of_float32_up_to_rounding(tmp_path, wrapper):
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    losses = []
    for number, settings in enumerate((dict(type='FiniteOptimWrapper'), wrapper)):
        config = tiny_config(tmp_path / 'videos', epochs=6, workers=0)
        # Not Adam, which makes whole steps of the rounding of gradients near zero.
        config.optim_wrapper = dict(settings, optimizer=dict(type='SGD', lr=20.0))
        config.work_dir = str(tmp_path / str(number))
        runner, record = train(config)
        losses.append([values[0] for values in record.trace.values()])
        assert all(p.dtype == torch.float32 for p in runner.model.parameters())
    full, half = losses
    assert len(full) == 30
    assert half != full
    # A loss is a mean over thousands of predictions, each off by a few roundings to eight
    # bits: that moves it by far less than training does.
    learnt = full[0] - full[-1]
    assert learnt > 0.005
    assert half == pytest.approx(full, abs=learnt / 10)
