"""Gradients of several processes, accumulated, are those of one process and one batch."""

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import distributed, multiprocessing

from mmvideomac.engine.launch import adapt_to_cpu, adapt_to_gpu
from mmvideomac.registry import MODEL_WRAPPERS
from tests.test_models.test_pretrainers.test_videomac import batch, build

STEPS, SAMPLES = 3, 4


def train(network, model, parts: list[list[int]]) -> torch.Tensor:
    """Weights after some steps, each accumulated over parts of the batch."""
    wrapper = OptimWrapper(
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3),
        accumulative_counts=len(parts),
    )
    wrapper.initialize_count_status(network, 0, STEPS * len(parts))
    device = model.head.mask_token.device
    frames, samples = batch(SAMPLES, 64, 64, device)
    for _ in range(STEPS):
        for part in parts:
            data = dict(
                inputs=[frame[part] for frame in frames], data_samples=[samples[i] for i in part]
            )
            network.train_step(data, wrapper)
    return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])


def _process(rank: int, processes: int, device: str, folder: str) -> None:
    torch.set_num_threads(1)
    cfg = Config(
        dict(
            launcher='pytorch',
            model={},
            train_dataloader={},
            optim_wrapper=dict(type='OptimWrapper'),
            env_cfg=dict(allow_tf32=False),
        )
    )
    (adapt_to_gpu if device == 'cuda' else adapt_to_cpu)(cfg)
    where = f'cuda:{rank}' if device == 'cuda' else 'cpu'
    if device == 'cuda':
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        'nccl' if device == 'cuda' else 'gloo',
        init_method=f'file://{folder}/store',
        rank=rank,
        world_size=processes,
    )
    model = build().to(where)
    settings = dict(cfg.model_wrapper_cfg, module=model)
    if device == 'cuda':
        settings['device_ids'] = [rank]
    parts = torch.arange(SAMPLES).view(-1, processes)[:, rank, None].tolist()
    weights = train(MODEL_WRAPPERS.build(settings), model, parts)
    torch.save(weights, f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


def test_steps_are_those_of_the_whole_batch(tmp_path, device):
    processes = min(2, torch.cuda.device_count()) if device == 'cuda' else 2
    multiprocessing.spawn(_process, (processes, device, str(tmp_path)), nprocs=processes)
    model = build().to(device)
    start = torch.cat([p.detach().cpu().flatten() for p in model.parameters()])
    expected = train(model, model, [list(range(SAMPLES))])
    results = [torch.load(tmp_path / f'{rank}.pt') for rank in range(processes)]
    assert all(torch.equal(result, results[0]) for result in results)
    # Sums in another order: off by some roundings of 2^-24, through a network of ten layers.
    assert (results[0] - expected).norm() < 1e-4 * (expected - start).norm()
