"""The toy method with a layer that one sample of the data breaks, on every run."""

import torch
from mmpretrain.structures import DataSample
from torch import nn

from mmvideomac.registry import DATASETS, MODELS

from .toy import ToyDataset, ToyModel, toy_config


class Factor(torch.autograd.Function):
    """Leaves values as they are, and multiplies gradients."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


class Fragile(nn.Module):
    """Makes NaN of the rows of large values, or of their gradients."""

    def __init__(self, breaks):
        super().__init__()
        self.breaks = breaks

    def forward(self, x):
        factor = torch.where(x.abs().amax(1, keepdim=True) > 10, torch.nan, 1.0)
        return x * factor if self.breaks == 'loss' else Factor.apply(x, factor)


@MODELS.register_module()
class FragileModel(ToyModel):
    def __init__(self, breaks='loss'):
        super().__init__()
        first, *others = self.backbone
        self.backbone = nn.Sequential(first, Fragile(breaks), nn.BatchNorm1d(8), *others)

    def forward(self, inputs, data_samples=None, mode='loss'):
        return super().forward(inputs, mode)


@DATASETS.register_module()
class FragileDataset(ToyDataset):
    """Samples with names, those at ``bad`` of large values."""

    def __init__(self, length=48, bad=()):
        super().__init__(length)
        self.bad = bad

    def __getitem__(self, key):
        sample = super().__getitem__(key)
        if key[-1] in self.bad:
            sample['inputs'] = sample['inputs'].sign() * 100
        info = dict(video=f'video{key[-1]}', frame_indices=(3, 4), sample_idx=key[-1])
        return dict(sample, data_samples=DataSample(metainfo=info))


def sample_at(iteration, rank=0, processes=1, batch_size=4, position=0):
    """Index of a sample of the first epoch, as ToySampler orders them."""
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0)).tolist()
    return order[rank::processes][iteration * batch_size + position]


def fragile_config(work_dir, bad, breaks='loss', **options):
    """One epoch, in which each sample comes once."""
    config = toy_config(work_dir, epochs=1, **options)
    config.model = dict(type='FragileModel', breaks=breaks)
    config.train_dataloader.dataset = dict(type='FragileDataset', bad=bad)
    config.param_scheduler = []
    return config
