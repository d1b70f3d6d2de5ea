import os

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import distributed, multiprocessing, nn

from mmvideomac.engine import (
    FiniteAmpOptimWrapper,
    FiniteOptimWrapper,
    GroupedOptimWrapperConstructor,
)
from mmvideomac.engine.launch import adapt_to_cpu

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


class Factor(torch.autograd.Function):
    """Leaves values as they are, and multiplies gradients."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


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
    saved = {path.name for path in tmp_path.glob('*.pth')}
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


def _process(rank: int, folder: str) -> None:
    """Train on one of two processes: as it should be, and with what only the second has."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    reductions, all_reduce = [], distributed.all_reduce

    def counted(*args, **kwargs):
        reductions.append(None)
        return all_reduce(*args, **kwargs)

    distributed.all_reduce = counted
    results = {}
    for name, change in [('good', {}), ('loss', dict(loss=NAN)), ('gradient', dict(gradient=NAN))]:
        config = toy_config(f'{folder}/{name}', batch_size=2, accumulation=2, launcher='pytorch')
        config.train_dataloader.sampler.multiple_of = 8
        adapt_to_cpu(config)
        runner = build(config)
        if rank == 1:
            poison(runner.model.module, at=2, **change)
        reductions.clear()
        message = None
        try:
            runner.train()
        except FloatingPointError as error:
            message = str(error)
        finite = all(weight.isfinite().all() for weight in runner.model.parameters())
        results[name] = (message, len(reductions), runner.iter, finite)
    torch.save(results, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


def test_processes_stop_together_and_agree_once_per_step(tmp_path):
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in range(2))
    # 3 epochs of 6 steps of 2 iterations.
    assert first['good'] == second['good'] == (None, 18, 36, True)
    # In the second step, in whose first iteration it was.
    assert first['loss'][1:] == second['loss'][1:] == (2, 3, True)
    assert first['loss'][0].startswith('the loss is not finite on another process')
    assert second['loss'][0].startswith('the loss is not finite on this process')
    assert first['gradient'] == second['gradient']
    assert first['gradient'][1:] == (2, 3, True)
    assert 'backbone.0.weight' in first['gradient'][0]
