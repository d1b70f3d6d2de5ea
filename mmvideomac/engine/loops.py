"""A training loop that can stop and resume in the middle of an epoch.

mmengine's ``EpochBasedTrainLoop`` restarts a partly consumed epoch from its
first batch, so that resuming from such a checkpoint repeats samples and shifts
every later iteration.
"""

from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmvideomac.registry import LOOPS


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Epoch based training whose position in the epoch survives a resume.

    The position is a pure function of the global iteration, so any checkpoint
    will do, whether written at the end of an epoch or inside it. The sampler
    must have a method ``start_batch(consumed)``, as
    :class:`mmvideomac.datasets.EpochSampler` has; consumed samples are then
    never decoded again.

    Args:
        runner: The runner.
        dataloader: The training loader, or its config.
        max_epochs: Number of epochs.
        **kwargs: As in :class:`mmengine.runner.EpochBasedTrainLoop`.

    Raises:
        ValueError: if the data set has fewer samples than one optimiser step
            needs, or if an epoch is not a whole number of optimiser steps.
    """

    def __init__(
        self, runner: Runner, dataloader: DataLoader | dict, max_epochs: int, **kwargs
    ) -> None:
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        self._check_epoch_length()
        self._count_schedules_in_steps()

    def run_epoch(self) -> None:
        """Run what is left of the current epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        consumed = self._iter - self._epoch * len(self.dataloader)
        if consumed:
            self._skip(consumed)
        for batch_idx, data_batch in enumerate(self.dataloader, start=consumed):
            self.run_iter(batch_idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _skip(self, batches: int) -> None:
        sampler = self.dataloader.sampler
        if not hasattr(sampler, 'start_batch'):
            raise ValueError(
                f'{type(sampler).__name__} cannot resume in the middle of an epoch, where this '
                'checkpoint was saved: use EpochSampler, or a checkpoint from the end of an epoch.'
            )
        sampler.start_batch(batches * self.dataloader.batch_size)

    def _check_epoch_length(self) -> None:
        accumulation = _accumulative_counts(self.runner)
        batch, processes = self.dataloader.batch_size, self.runner.world_size
        samples, needed = len(self.dataloader.dataset), batch * processes * accumulation
        iterations = len(self.dataloader)
        if samples < needed or not iterations:
            raise ValueError(
                f'The training data set has {samples} samples, but one optimiser step takes '
                f'{needed} (train_dataloader.batch_size {batch} x {processes} process(es) x '
                f'{accumulation} accumulated iteration(s)). Add data, or lower '
                'total_batch_size and train_dataloader.batch_size.'
            )
        if iterations % accumulation:
            raise ValueError(
                f'An epoch of {iterations} iterations is not a whole number of optimiser steps of '
                f'{accumulation} accumulated iterations, so gradients would leak from one epoch '
                'into the next. Set `train_dataloader.sampler.multiple_of` to the number of '
                'samples per optimiser step, as tools/train.py does for total_batch_size.'
            )

    def _count_schedules_in_steps(self) -> None:
        """Convert schedules from epochs to optimiser steps, not to iterations.

        Goes with ``OptimStepSchedulerHook``: the learning rate of a step is then the
        same however many iterations it is accumulated over.
        """
        steps = len(self.dataloader) // _accumulative_counts(self.runner)
        schedulers = self.runner.param_schedulers or []
        for scheduler in schedulers if isinstance(schedulers, list) else []:
            if isinstance(scheduler, dict) and scheduler.get('convert_to_iter_based'):
                scheduler.setdefault('epoch_length', steps)


def _accumulative_counts(runner: Runner) -> int:
    """Iterations per optimiser step; the wrapper may be a config or built."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, dict):
        return wrapper.get('accumulative_counts', 1)
    return wrapper._accumulative_counts
