import functools
import multiprocessing
import signal
import subprocess
import time

import pytest
import torch

from mmvideomac.engine.hooks import preemption_hook
from mmvideomac.engine.hooks.preemption_hook import _init_worker

from .toy import build, hook_of, toy_config, train


@pytest.fixture
def default_handlers():
    """Whatever started the tests may ignore some (nohup, a shell's background jobs)."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def sending(**options):
    return {'default_hooks.sender': dict(type='SendSignalHook', **options)}


@pytest.mark.parametrize(
    'number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name
)
def test_stops_after_the_step_and_resumes_exactly(tmp_path, number, default_handlers):
    before = signal.getsignal(number)
    _, reference = train(toy_config(tmp_path / 'whole', accumulation=2))
    with pytest.raises(SystemExit) as stop:
        train(toy_config(tmp_path / 'cut', accumulation=2, **sending(at=14, number=int(number))))
    assert stop.value.code == 128 + number
    assert signal.getsignal(number) == before
    meta = torch.load(tmp_path / 'cut' / 'mid_epoch.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 16)  # 15 would split an optimiser step

    _, record = train(toy_config(tmp_path / 'cut', accumulation=2, resume=True))
    assert list(record.trace) == list(range(16, 36))
    assert all(record.trace[i] == reference.trace[i] for i in record.trace)


def test_says_how_to_go_on(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(toy_config(tmp_path, **sending(at=3, number=int(signal.SIGTERM))))
    shown = capsys.readouterr().out
    assert 'Stopped by SIGTERM at iteration 4' in shown
    assert '--resume' in shown


def test_a_signal_does_not_outlive_a_training_that_fails(tmp_path, default_handlers, monkeypatch):
    ended = []
    monkeypatch.setattr(preemption_hook, 'end_process', lambda *arguments: ended.append(arguments))
    options = {'default_hooks.preemption.timeout': 1, 'default_hooks.record.crash_after': 4}
    with pytest.raises(RuntimeError, match='crash'):
        train(toy_config(tmp_path, **options, **sending(at=3, number=int(signal.SIGTERM))))
    time.sleep(1.5)
    assert not ended


def test_second_interrupt_stops_at_once(tmp_path):
    options = sending(at=3, number=int(signal.SIGINT), times=2)
    with pytest.raises(KeyboardInterrupt):
        train(toy_config(tmp_path, **options))
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.skipif(not hasattr(signal, 'sigwaitinfo'), reason='needs sigwaitinfo (Linux)')
def test_workers_obey_nobody_but_their_loader():
    context = multiprocessing.get_context('fork')
    ready = context.Event()
    init_fn = functools.partial(_init_worker, lambda worker_id: ready.set())
    worker = context.Process(target=lambda: (init_fn(0), time.sleep(60)), daemon=True)
    worker.start()
    assert ready.wait(10)
    for name in ('INT', 'USR1', 'HUP', 'TERM'):
        subprocess.run(['kill', f'-{name}', str(worker.pid)], check=True)
    worker.join(0.5)
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert not worker.is_alive()


def test_training_survives_a_signal_to_its_workers(tmp_path):
    options = sending(at=2, number=int(signal.SIGUSR1), to_workers=True)
    _, record = train(toy_config(tmp_path, workers=2, epochs=2, **options))
    assert len(record.trace) == 24


def test_handlers_are_restored_after_training(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    train(toy_config(tmp_path, epochs=2))
    assert signal.getsignal(signal.SIGTERM) == before


def test_nohup_is_respected(tmp_path, default_handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _, record = train(toy_config(tmp_path, epochs=2, **sending(at=3, number=int(signal.SIGHUP))))
    assert len(record.trace) == 24


def test_needs_the_checkpoint_hook(tmp_path):
    config = toy_config(tmp_path)
    config.default_hooks.checkpoint = dict(type='CheckpointHook')
    runner = build(config)
    with pytest.raises(TypeError, match='AtomicCheckpointHook'):
        hook_of(runner, 'PreemptionHook').before_train(runner)


def test_needs_a_wrapper_that_tells_the_others(tmp_path):
    config = toy_config(tmp_path)
    config.optim_wrapper.type = 'OptimWrapper'
    with pytest.raises(TypeError, match=r"set optim_wrapper\.type to 'FiniteOptimWrapper'"):
        train(config)
