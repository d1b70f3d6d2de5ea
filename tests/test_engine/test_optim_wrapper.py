from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmvideomac.engine import (
    FiniteAmpOptimWrapper,
    FiniteOptimWrapper,
    GroupedOptimWrapperConstructor,
)

from .fragile import Factor
from .toy import build, toy_config, train


def test_groups_of_equal_settings_are_one(caplog):
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    model.target = nn.Linear(2, 3).requires_grad_(False)
    cfg = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0),
        constructor=GroupedOptimWrapperConstructor,
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    decayed = {id(model[0].weight), id(model[2].weight)}
    assert sorted(group['weight_decay'] for group in groups) == [0, 0.05]
    for group in groups:
        parameters = {id(p) for p in group['params']}
        if group['weight_decay']:
            assert parameters == decayed
        else:
            everything = {id(p) for p in model.parameters() if p.requires_grad}
            assert parameters == everything - decayed
    assert 'target' not in caplog.text


def test_training_is_that_of_mmengine():
    def train(constructor):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))
        cfg = dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5),
            paramwise_cfg=dict(bias_decay_mult=0.0),
            constructor=constructor,
        )
        wrapper = build_optim_wrapper(model, cfg)
        for _ in range(3):
            wrapper.update_params(model(torch.ones(2, 4)).square().mean())
        return model.state_dict()

    ours, theirs = train(GroupedOptimWrapperConstructor), train('DefaultOptimWrapperConstructor')
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key])


NAN, INF = float('nan'), float('inf')


def poison(model, at, loss=1.0, gradient=1.0):
    """Multiply a loss of the toy, or its gradient, in iteration ``at`` of the run."""
    seen = []

    def change(module, args, losses):
        seen.append(None)
        if len(seen) == at + 1:
            losses['loss_a'] = Factor.apply(losses['loss_a'], gradient) * loss

    model.register_forward_hook(change)


@pytest.mark.parametrize('value', [NAN, INF, -INF])
@pytest.mark.parametrize('at', [16, 17])  # both iterations of a step
@pytest.mark.parametrize(
    'what, message',
    [
        ('loss', 'the loss is not finite on this process'),
        (
            'gradient',
            r'gradients of 4 of 4 parameters are not finite \(backbone.0.weight, '
            r'backbone.0.bias, backbone.2.weight, \.\.\.\), at a finite loss',
        ),
    ],
)
def test_stops_before_a_step_that_is_not_finite(tmp_path, value, at, what, message):
    saving = {'default_hooks.checkpoint.interval': 2, 'default_hooks.checkpoint.by_epoch': False}
    runner = build(toy_config(tmp_path, accumulation=2, **saving))
    poison(runner.model, at, **{what: value})
    with pytest.raises(FloatingPointError, match=message):
        runner.train()
    saved = {path.name for path in tmp_path.glob('iter_*.pth')}
    assert saved == {'iter_12.pth', 'iter_14.pth', 'iter_16.pth'}
    state = torch.load(tmp_path / 'iter_16.pth')['state_dict']
    for name, weight in runner.model.state_dict().items():
        assert torch.equal(weight, state[name]) and weight.isfinite().all()


def test_a_loss_without_gradient_counts():
    model = nn.Linear(1, 1)
    wrapper = FiniteOptimWrapper(torch.optim.SGD(model.parameters(), lr=1))
    before = model.weight.item()
    with pytest.raises(FloatingPointError, match='the loss'):
        wrapper.update_params(model(torch.ones(1)).sum() + torch.tensor(INF))
    assert model.weight.item() == before
    wrapper.zero_grad()
    wrapper.update_params(model(torch.ones(1)).sum())  # the next is judged by itself
    assert model.weight.item() == before - 1


def test_finite_training_is_that_of_mmengine(tmp_path):
    traces = []
    for kind in ('FiniteOptimWrapper', 'OptimWrapper'):
        config = toy_config(tmp_path / kind, accumulation=2, **{'default_hooks.preemption': None})
        del config.default_hooks.preemption
        config.optim_wrapper.update(type=kind, clip_grad=dict(max_norm=0.1))
        traces.append(train(config)[1].trace)
    assert traces[0] == traces[1]


@pytest.fixture
def amp(monkeypatch):
    """The wrapper of mixed precision, on the CPU: (model, wrapper)."""
    monkeypatch.setattr(
        'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available', lambda: True
    )
    model = nn.Linear(1, 1)
    wrapper = FiniteAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1))
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=8.0)
    wrapper.initialize_count_status(model, 0, 9)
    return model, wrapper


def test_infinite_gradients_are_the_business_of_the_scaler(amp):
    model, wrapper = amp
    before = model.weight.item()
    loss = Factor.apply(model(torch.ones(1)).sum(), INF)
    wrapper.update_params(loss)
    assert model.weight.item() == before
    assert wrapper.loss_scaler.get_scale() == 4
    with pytest.raises(FloatingPointError, match='the loss'):
        wrapper.update_params(model(torch.ones(1)).sum() * NAN)


def test_without_a_scale_infinite_gradients_stop_mixed_precision_too(amp):
    model, wrapper = amp
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
    before = model.weight.item()
    with pytest.raises(FloatingPointError, match=r'\(weight, bias\), at a finite loss'):
        wrapper.update_params(Factor.apply(model(torch.ones(1)).sum(), INF))
    assert model.weight.item() == before


def test_overflows_are_counted_and_too_many_in_a_row_stop(amp):
    model, wrapper = amp
    wrapper.MAX_OVERFLOWS = 2

    def step(factor):
        wrapper.update_params(Factor.apply(model(torch.ones(1)).sum(), factor))
        hub = wrapper.message_hub
        return [hub.get_scalar(f'train/{name}').current() for name in ('overflows', 'loss_scale')]

    assert step(1) == [0, 8]
    assert wrapper.message_hub.get_scalar('train/grad_norm').current() == pytest.approx(2**0.5)
    assert [step(INF), step(NAN), step(1), step(INF)] == [[1, 8], [2, 4], [2, 2], [3, 2]]
    step(INF)
    other = FiniteAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1))
    other.loss_scaler = torch.amp.GradScaler('cpu')
    other.load_state_dict(wrapper.state_dict())
    assert (other.overflows, other.loss_scaler.get_scale()) == (4, 0.5)
    with pytest.raises(FloatingPointError, match=r'gradients of 3 steps in a row .* scale of 0\.5'):
        step(INF)


def test_mixed_precision_skips_losses_and_goes_on(amp):
    model, wrapper = amp
    wrapper.max_skipped_steps = 1
    wrapper.update_params(model(torch.ones(1)).sum() * NAN)
    before = model.weight.item()
    assert (wrapper.skipped_steps, wrapper.overflows) == (1, 0)
    wrapper.update_params(model(torch.ones(1)).sum())
    assert model.weight.item() == before - 1


def test_state_of_mmengine_and_back(amp):
    model, wrapper = amp
    plain = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1))
    ours = FiniteOptimWrapper(torch.optim.SGD(model.parameters(), lr=1), max_skipped_steps=3)
    ours.skipped_steps = 2
    ours.load_state_dict(plain.state_dict())
    assert ours.skipped_steps == 0
    ours.skipped_steps = 2
    plain.load_state_dict(ours.state_dict())
    wrapper.load_state_dict(wrapper.state_dict() | dict(skipped_steps=2))
    assert wrapper.skipped_steps == 2
    with pytest.raises(ValueError, match='max_skipped_steps=-1'):
        FiniteOptimWrapper(torch.optim.SGD(model.parameters(), lr=1), max_skipped_steps=-1)


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1), dict(type='value', clip_value=0.01)])
def test_logs_the_norm_of_the_accumulated_gradients(clip):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1)).double()
    inputs = torch.randn(3, 2, 4, dtype=torch.float64)
    wrapper = FiniteOptimWrapper(
        torch.optim.SGD(model.parameters(), lr=1), accumulative_counts=3, clip_grad=clip
    )
    (sum(model(x).square().mean() for x in inputs) / 3).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()
    model.zero_grad()
    before = [p.detach().clone() for p in model.parameters()]
    for x in inputs:
        wrapper.update_params(model(x).square().mean())
    norm = wrapper.message_hub.get_scalar('train/grad_norm').current()
    assert norm == pytest.approx(expected, rel=1e-12)
    moved = torch.cat(
        [(p - q).flatten() for p, q in zip(model.parameters(), before, strict=True)]
    ).detach()
    if clip is None:
        assert moved.norm().item() == pytest.approx(expected)
    elif 'max_norm' in clip:
        assert expected > 0.1 and moved.norm().item() == pytest.approx(0.1, rel=1e-4)
    else:
        assert moved.abs().max().item() == pytest.approx(0.01)


@contextmanager
def waits(monkeypatch):
    """Counts what would wait for a device: values read on the host, shapes that depend on them."""
    counts = Counter()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            name = function.overloadpacket.__name__
            if name in ('_local_scalar_dense', 'nonzero', 'is_nonzero', 'equal', 'masked_select'):
                counts[name] += 1
            return function(*args, **(kwargs or {}))

    # On a CPU these are no operators; on a device they copy, and wait for it.
    for name in ('tolist', 'numpy', 'cpu'):
        original = getattr(torch.Tensor, name)

        def counted(*args, name=name, original=original, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    with Count():
        yield counts


@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1)])
@pytest.mark.parametrize('scaled', [False, True])
def test_waits_for_the_device_once_per_step(amp, monkeypatch, clip, scaled):
    model, wrapper = amp
    if not scaled:
        wrapper = FiniteOptimWrapper(torch.optim.SGD(model.parameters(), lr=1))
    wrapper._accumulative_counts = 3
    wrapper.clip_grad_kwargs, wrapper.clip_func = clip, torch.nn.utils.clip_grad_norm_
    wrapper.initialize_count_status(model, 0, 9)
    before = model.weight.item()
    with waits(monkeypatch) as counts:
        for _ in range(6):
            with wrapper.optim_context(model):
                loss = model(torch.ones(1)).sum()
            wrapper.update_params(loss)
        assert counts == dict(tolist=2)
        loss.item()
        assert counts == dict(tolist=2, _local_scalar_dense=1)  # the count counts
    assert model.weight.item() != before
