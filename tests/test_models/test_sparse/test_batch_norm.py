import pytest
import torch
from mmcv.cnn import build_norm_layer
from torch import distributed, multiprocessing, nn

from mmvideomac.models.sparse import PatchLayout, VisiblePatches, sparse_forward
from mmvideomac.ops import CPUSyncBatchNorm
from tests.test_models.utils import random_mask, randomize

CHANNELS = 6


def patches(batch=3, side=4, seed=0, num_visible=2, dtype=torch.float64, device='cpu'):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, num_visible, side, side, CHANNELS, generator=generator)
    # With a mean so far from zero E[x^2] - E[x]^2 would not do.
    features = features * (torch.rand(CHANNELS, generator=generator) + 0.5) + 10
    layout = PatchLayout(random_mask(batch, (2, 3), num_visible)).to(device)
    return VisiblePatches(features.to(device, dtype), layout)


def over_tokens(norm: nn.Module) -> nn.BatchNorm1d:
    """The same layer for (N, C)."""
    settings = (norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    twin = nn.BatchNorm1d(CHANNELS, *settings, dtype=torch.float64)
    twin.load_state_dict(norm.state_dict())
    device = next((value.device for value in norm.state_dict().values()), None)
    return twin.to(device).train(norm.training)


def run(norm, x, forward):
    features = x.features.clone().requires_grad_()
    y = forward(x.with_features(features))
    (y.flatten() * torch.linspace(-1, 1, y.numel(), device=y.device)).sum().backward()
    values = dict(y=y.reshape(features.shape), input=features.grad, **dict(norm.named_buffers()))
    return values | {name: p.grad for name, p in norm.named_parameters()}


@pytest.mark.parametrize(
    'options',
    [{}, dict(momentum=None), dict(affine=False), dict(track_running_stats=False)],
    ids=str,
)
@pytest.mark.parametrize('kind', [nn.BatchNorm2d, nn.SyncBatchNorm, CPUSyncBatchNorm])
def test_equals_batch_norm_over_visible_tokens(kind, options, device):
    norm = randomize(kind(CHANNELS, **options)).to(device, torch.float64)
    twin = over_tokens(norm)
    for seed in range(3):
        x = patches(seed=seed, side=2**seed, device=device)
        if seed == 2:
            norm.eval(), twin.eval()
        ours = run(norm, x, lambda x: sparse_forward(norm, x).features)
        expected = run(twin, x, lambda x: twin(x.features.flatten(0, 3)))
        for name in expected:
            torch.testing.assert_close(ours[name], expected[name], msg=name)
        norm.zero_grad(), twin.zero_grad()


def test_statistics_are_float32_under_autocast(device):
    norm = nn.BatchNorm2d(CHANNELS).to(device)
    x = patches(batch=64, side=8, dtype=torch.float32, device=device)
    x = x.with_features(x.features + 90)  # bfloat16 would sum this to anything
    twin = over_tokens(norm)
    low = x.with_features(x.features.bfloat16())
    with torch.autocast(device, torch.bfloat16):
        y = sparse_forward(norm, low).features
    twin(low.features.double().flatten(0, 3))
    assert y.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
    # Sums of n = 8192 numbers of about 100 in float32: off by n * 2^-24 = 5e-4 of their size
    # if added one by one. A variance is the mean of squared distances from such a mean.
    for name in ('running_mean', 'running_var'):
        expected = twin.get_buffer(name).float()
        torch.testing.assert_close(norm.get_buffer(name), expected, atol=0, rtol=1e-3)


def _process(rank: int, folder: str) -> None:
    """Two training steps and an evaluation on one of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    results = {}
    for name, norm in sync_norms():
        norm.double()
        for seed in range(2):
            # Unequal shares: 1 and 2 samples.
            x = patches(seed=seed)
            share = x.features[:1] if rank == 0 else x.features[1:]
            mask = x.layout.mask[:1] if rank == 0 else x.layout.mask[1:]
            x = VisiblePatches(share, PatchLayout(mask))
            norm.zero_grad()
            leaf = share.clone().requires_grad_()
            y = sparse_forward(norm, x.with_features(leaf)).features
            (y * y * torch.linspace(-1, 1, CHANNELS)).sum().backward()
        results[name] = dict(y=y.detach(), input=leaf.grad, **norm.state_dict())
        results[name].update({f'{n}.grad': p.grad for n, p in norm.named_parameters()})
        norm.eval()  # without the other process
        if rank == 0:
            results[name]['eval'] = sparse_forward(norm, x).features.detach()
    torch.save(results, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


def sync_norms():
    yield 'torch', randomize(nn.SyncBatchNorm(CHANNELS))
    yield 'mmcv', randomize(build_norm_layer(dict(type='SyncBN'), CHANNELS)[1])
    yield 'cpu', randomize(CPUSyncBatchNorm(CHANNELS))
    yield 'average', randomize(nn.SyncBatchNorm(CHANNELS, momentum=None))


def test_two_processes_equal_batch_norm_over_all_tokens(tmp_path):
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    for name, norm in sync_norms():
        twin = over_tokens(norm)
        for seed in range(2):
            x = patches(seed=seed)
            twin.zero_grad()
            leaf = x.features.clone().requires_grad_()
            y = twin(leaf.flatten(0, 3)).view_as(leaf)
            (y * y * torch.linspace(-1, 1, CHANNELS)).sum().backward()
        first, second = (part[name] for part in parts)
        for key, expected in dict(y=y, input=leaf.grad).items():
            torch.testing.assert_close(torch.cat([first[key], second[key]]), expected)
        for key, expected in twin.state_dict().items():
            assert torch.equal(first[key], second[key])
            torch.testing.assert_close(first[key], expected)
        for key, parameter in twin.named_parameters():  # DDP averages these
            total = first[f'{key}.grad'] + second[f'{key}.grad']
            torch.testing.assert_close(total, parameter.grad)
        expected = twin.eval()(leaf[:1].flatten(0, 3)).view_as(leaf[:1])
        torch.testing.assert_close(first['eval'], expected)
