import os

import torch
from mmengine.dist import get_rank
from mmengine.model import BaseModel
from torch import distributed, multiprocessing, nn

from mmvideomac.registry import MODELS
from tests.test_engine.toy import build, toy_config

MOMENTUM = 0.25


@MODELS.register_module()
class ToyNorms(BaseModel):
    """Norms of every kind, which see another input on every process."""

    def __init__(self):
        super().__init__()
        self.plain = nn.BatchNorm1d(4, momentum=MOMENTUM)
        self.synced = MODELS.build(dict(type='CPUSyncBN', num_features=4))
        self.frozen = nn.BatchNorm1d(4)
        self.target = nn.BatchNorm1d(4)
        self.register_buffer('constant', torch.tensor(0.0))
        self.seen = []

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        self.target.eval()
        return self

    @torch.no_grad()
    def update_target(self, momentum):
        for name in ('running_mean', 'running_var'):
            getattr(self.target, name).lerp_(getattr(self.plain, name), 1 - momentum)

    def forward(self, inputs, mode='loss'):
        self.constant.fill_(get_rank())
        self.seen.append(inputs.double())
        x = self.frozen(self.synced(self.plain(inputs)))
        return dict(loss=x.square().mean() + self.target(inputs).mean())


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)  # which mmengine reads for a GPU
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    config = toy_config(
        f'{folder}/work', epochs=1, batch_size=4, accumulation=2, launcher='pytorch'
    )
    config.model = dict(type='ToyNorms')
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
    )
    config.param_scheduler = None
    config.default_hooks.checkpoint.by_epoch = False
    config.default_hooks.ema.schedule = 'constant'
    config.env_cfg.dist_cfg = dict(backend='gloo')
    runner = build(config)
    runner.train()
    model = runner.model.module
    torch.save(dict(state=model.state_dict(), seen=torch.stack(model.seen)), f'{folder}/{rank}.pt')
    distributed.destroy_process_group()


def test_two_processes_agree_at_every_step(tmp_path):
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    results = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    first, second = (result['state'] for result in results)
    mean, target = torch.zeros(4).double(), torch.zeros(4).double()
    batches = torch.stack([result['seen'] for result in results])  # process, iteration, ...
    assert len(batches[0]) == 6 and not torch.equal(batches[0], batches[1])
    for iteration, shares in enumerate(batches.unbind(1)):
        mean.lerp_(shares.mean((0, 1)), MOMENTUM)
        if iteration % 2:  # an optimiser step is accumulated over two iterations
            target.lerp_(mean, 0.1)
    for state in (first, second):
        for name, value in dict(plain=mean, target=target).items():
            actual = state[f'{name}.running_mean'].double()
            torch.testing.assert_close(actual, value, atol=1e-6, rtol=0)
    for name in ('plain', 'synced', 'frozen', 'target'):
        for statistics in ('running_mean', 'running_var', 'num_batches_tracked'):
            key = f'{name}.{statistics}'
            assert torch.equal(first[key], second[key]), key
    # What is no running statistic is left alone.
    assert (first['constant'], second['constant']) == (0, 1)
    assert not first['frozen.running_mean'].any()
    (path,) = (tmp_path / 'work').glob('*6.pth')
    saved = torch.load(path, weights_only=False)['state_dict']
    assert torch.equal(saved['plain.running_var'], second['plain.running_var'])
