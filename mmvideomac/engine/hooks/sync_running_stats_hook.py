"""Batch norms of several processes that agree on their running statistics."""

from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmvideomac.ops import CPUSyncBatchNorm
from mmvideomac.registry import HOOKS

from ..optim_steps import ends_optim_step


@HOOKS.register_module()
class SyncRunningStatsHook(Hook):
    """Averages the running statistics of plain batch norms over all processes.

    Each process normalises by its own batches, hence its running means and variances
    are of its share of the data, and a checkpoint would hold those of rank 0 alone.
    Their average is taken at every optimiser step, not before a checkpoint only: the
    EMA target normalises by them, so that a run would depend on when it was saved.
    (mmengine's ``SyncBuffersHook`` averages all buffers, once an epoch.)

    Norms that are synchronised, or in eval mode (frozen, or of the target), agree
    already and are left as they are.
    """

    # Before the EMA target takes them over.
    priority = 'ABOVE_NORMAL'

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        if runner.world_size == 1 or not ends_optim_step(runner):
            return
        all_reduce_params(
            [
                statistics
                for norm in runner.model.modules()
                if isinstance(norm, _BatchNorm)
                and not isinstance(norm, nn.SyncBatchNorm | CPUSyncBatchNorm)
                and norm.training
                and norm.track_running_stats
                for statistics in (norm.running_mean, norm.running_var)
            ],
            op='mean',
        )
