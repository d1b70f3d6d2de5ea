"""The order of an epoch, independent of the number of processes."""

from collections.abc import Iterator, Sized
from typing import NamedTuple

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmvideomac.registry import DATA_SAMPLERS


class SampleKey(NamedTuple):
    """All that a sample may depend on."""

    seed: int
    epoch: int
    index: int


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):
    """Yield :class:`SampleKey` of every sample of an epoch.

    The global order is a permutation that depends on (seed, epoch) alone; rank
    r of W processes takes ``order[r::W]``. So the global batch is the same for
    any W, if the total batch size is. The last samples of the order are left out
    where they do not fill ``multiple_of``, so that all ranks make the same steps.

    An epoch can be entered in the middle: see :meth:`start_batch`.

    Args:
        dataset: The dataset, for its length.
        seed: Seed of the run, >= 0, the same in all processes. None draws one
            and shares it. mmengine's Runner passes its own.
        shuffle: False keeps the order of the dataset in every epoch.
        multiple_of: Samples per optimiser step over all ranks; an epoch is cut to
            a whole number of steps. None: of samples per rank.

    Attributes:
        offset (int): Samples of this epoch that this rank leaves out because
            they were consumed before an interruption. Goes back to 0 at the
            end of the epoch. ``len()`` does not depend on it.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int | None = None,
        shuffle: bool = True,
        multiple_of: int | None = None,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.multiple_of = multiple_of or self.world_size
        self.dataset = dataset
        self.seed = int(sync_random_seed() if seed is None else seed)
        self.shuffle = shuffle
        self.epoch = 0
        self.offset = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, counted from 0."""
        self.epoch = epoch

    def start_batch(self, consumed: int) -> None:
        """Let the next iteration begin after ``consumed`` samples of this rank.

        Resuming in mid-epoch then continues the order exactly, and nothing of
        what was consumed is decoded again.

        Raises:
            ValueError: if an epoch of this rank is shorter than that.
        """
        if not 0 <= consumed <= len(self):
            raise ValueError(
                f'cannot resume after {consumed} samples of an epoch of {len(self)} samples per '
                'process: was the checkpoint made with other data or another number of processes?'
            )
        self.offset = consumed

    def __iter__(self) -> Iterator[SampleKey]:
        epoch = self.epoch
        if self.shuffle:
            sequence = np.random.SeedSequence(self.seed, spawn_key=(epoch,))
            order = np.random.Generator(np.random.PCG64(sequence)).permutation(len(self.dataset))
        else:
            order = np.arange(len(self.dataset))
        # An array, not a list: an epoch of Kinetics has 70 million pairs.
        mine = order[self.rank :: self.world_size][: len(self)]
        for index in mine[self.offset :]:
            yield SampleKey(self.seed, epoch, int(index))
        self.offset = 0

    def __len__(self) -> int:
        """Samples per rank and epoch."""
        steps = len(self.dataset) // self.multiple_of
        return steps * self.multiple_of // self.world_size
