"""Runs of the toy method on one or several processes.

They are forked, since imports take longer than the training.
"""

import os
import uuid
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import distributed, multiprocessing

from mmvideomac.engine.launch import adapt_to_cpu, set_batch_size
from mmvideomac.utils.folder_lock import unlock_folder

from .toy import build, hook_of, toy_config

#: Processes, samples at a time, accumulated iterations: 4 samples per optimiser step.
TOGETHER, IN_TURN, AT_ONCE = (2, 2, 1), (1, 2, 2), (1, 4, 1)


def run(folder, split, total=4, crash_after=None, **options):
    """Train 2 epochs of 12 optimiser steps, saved every 5 steps; 2 of 50 samples are left out.

    Args:
        folder: The work directory.
        split: One of those above.
        total: Samples per optimiser step.
        crash_after: Optimiser steps after which the run breaks off.
        **options: Of :func:`~tests.test_engine.toy.toy_config`.

    Returns:
        The ``losses`` of its optimiser steps by number, means over iterations and processes,
        their learning rates and momenta, ``schedules``, their samples, ``batches``, in the order
        of the data, and of the first process the ``state`` that the run ended in, and its
        ``error``.
    """
    processes, _, accumulation = split
    config = config_of(folder, split, total, crash_after, **options)
    results = Path(folder, f'results_{uuid.uuid4().hex}')
    results.mkdir(parents=True)
    if processes == 1:
        _train(0, config, 1, results)
        unlock_folder(folder)  # as by the end of its process
    else:
        config.launcher = 'pytorch'
        multiprocessing.start_processes(
            _process, (config, processes, results), nprocs=processes, start_method='fork'
        )
    runs = [torch.load(results / f'{rank}.pth') for rank in range(processes)]
    losses, schedules, batches = {}, {}, {}
    for iteration, (_, lr, *_) in runs[0]['trace'].items():
        step = iteration // accumulation
        parts = [run['trace'][iteration][0] / processes / accumulation for run in runs]
        losses[step] = losses.get(step, 0) + sum(parts)
        schedules[step] = (lr, runs[0]['trace'][iteration][2])  # as after its last iteration
        together = torch.stack([run['batches'][iteration] for run in runs], 1).flatten(0, 1)
        batches[step] = torch.cat([*batches.get(step, []), *together]).view(-1, 4)
    return SimpleNamespace(
        losses=losses,
        schedules=schedules,
        batches=batches,
        state=runs[0]['state'],
        error=runs[0]['error'],
    )


def config_of(folder, split, total=4, crash_after=None, **options):
    """The config of :func:`run`."""
    _, batch_size, accumulation = split
    return toy_config(
        folder,
        length=50,
        epochs=2,
        batch_size=batch_size,
        total_batch_size=total,
        **{
            'train_dataloader.sampler': dict(type='EpochSampler', _delete_=True),
            'default_hooks.checkpoint.interval': 5 * accumulation,
            'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.record.crash_after': crash_after and crash_after * accumulation,
            'model.dropout': 0.0,
            **options,
        },
    )


def _process(rank, config, processes, folder):
    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes))
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=processes
    )
    _train(rank, config, processes, folder)
    distributed.destroy_process_group()


def _train(rank, config, processes, folder):
    set_batch_size(config, processes)
    adapt_to_cpu(config)
    runner, error = build(config), None
    try:
        runner.train()
    except (RuntimeError, ValueError) as raised:
        error = str(raised)
    record = hook_of(runner, 'RecordHook')
    model = getattr(runner.model, 'module', runner.model)
    optimizer = runner.optim_wrapper
    result = dict(
        trace=record.trace,
        batches=record.batches,
        state=dict(
            model=model.state_dict(),
            optimizer=None if isinstance(optimizer, dict) else optimizer.state_dict()['state'],
        ),
        error=error,
    )
    torch.save(result, folder / f'{rank}.pth')
