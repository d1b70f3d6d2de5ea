"""From a config and a command line to what this machine can run.

Everything here happens before a Runner exists, and changes the config alone,
except for :func:`init_cpu_processes` and the C library's memory.
"""

import logging
import os
import re
import subprocess
from datetime import timedelta

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from torch import distributed

from mmvideomac.checkpoint.files import find_latest_checkpoint, is_complete
from mmvideomac.ops import allow_tf32, keep_freed_memory, multiplies, product_library
from mmvideomac.utils.errors import UserError
from mmvideomac.utils.files import check_writable
from mmvideomac.utils.folder_lock import lock_folder

#: Environment variables of a process, by launcher: (rank, processes, local rank).
_RANK_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}

_MMENGINE_HOOKS = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
)


def process_info(launcher: str) -> tuple[int, int, int]:
    """Rank, number of processes and local rank, before any of them has met.

    Args:
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        UserError: if the process was not started by that launcher.
    """
    if launcher == 'none':
        return 0, 1, 0
    names = _RANK_VARIABLES[launcher]
    if lacking := [name for name in names if name not in os.environ]:
        raise UserError(
            f'--launcher {launcher} needs the environment variable(s) {", ".join(lacking)}, which '
            'the launcher sets: start through tools/dist_train.sh or tools/slurm_train.sh.'
        )
    rank, processes, local_rank = (int(os.environ[name]) for name in names)
    return rank, processes, local_rank


def check_device(device: str, local_rank: int) -> None:
    """Raise if a GPU is asked for and not there, or there and out of reach.

    Args:
        device: ``'auto'`` or ``'cuda'``.
        local_rank: Index of this process on its machine.

    Raises:
        UserError: without any GPU, with fewer GPUs than processes, or, though a CPU would do,
            with a driver that is too old for this build of torch.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    build, visible = torch.version.cuda, os.environ.get('CUDA_VISIBLE_DEVICES', '(unset)')
    reason = _refusal() if build and not available else ''
    if 'driver' in reason and 'too old' in reason and visible not in ('', '-1'):
        found = re.search(r'found version (\d+)', reason)
        has = f' (it goes up to CUDA {_cuda_version(int(found[1]))})' if found else ''
        raise UserError(
            f'The GPU driver is too old for torch {torch.__version__}, built for CUDA {build}'
            f'{has}. Update the driver, or install a torch built for a CUDA that it knows. '
            'To train on the CPU set CUDA_VISIBLE_DEVICES=-1.'
        )
    if device == 'cuda' and not available:
        raise UserError(
            '--device cuda, but torch sees no GPU: '
            + (
                f'it is built for CUDA {build}; check the driver (nvidia-smi) and '
                f'CUDA_VISIBLE_DEVICES={visible}.'
                if build
                else 'it is a CPU-only build; run `bash tools/setup_env.sh --gpu`.'
            )
            + ' To train on the CPU leave --device out.'
        )
    if available and local_rank >= available:
        raise UserError(
            f'Process {local_rank} of this machine has no GPU of its own: {available} visible. '
            'Start as many processes as there are GPUs (second argument of tools/dist_train.sh).'
        )


def _refusal() -> str:
    """Why a torch that is built for GPUs finds none, in its own words."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return ''


def _cuda_version(number: int) -> str:
    """12040 -> 12.4"""
    return f'{number // 1000}.{number % 1000 // 10}'


def drop_disabled_hooks(cfg: Config) -> None:
    """Let ``default_hooks.<name>=None`` disable our hooks as it does mmengine's own.

    Of names that mmengine does not know it takes no None.
    """
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in _MMENGINE_HOOKS:
            del hooks[name]


def check_work_dir(work_dir: str) -> None:
    """Make the work directory, and raise if it cannot be written to.

    Raises:
        UserError: naming the directory and the cause.
    """
    try:
        check_writable(work_dir)
    except OSError as error:
        raise UserError(
            f'Cannot write to the work directory {work_dir}: {os.strerror(error.errno)}. '
            'Choose another with --work-dir.'
        ) from None


def set_batch_size(cfg: Config, processes: int) -> str:
    """Keep ``total_batch_size`` samples per optimiser step on any number of processes.

    ``train_dataloader.batch_size`` is the most that one process takes at a time.
    What is lacking is accumulated over iterations; an epoch is cut to a whole
    number of optimiser steps, hence holds the same steps however they are made.

    With ``auto_scale_lr.enable`` instead, the batch size stays, nothing is
    accumulated, and mmengine scales the learning rate by
    batch_size * processes / ``auto_scale_lr.base_batch_size``.

    Returns:
        What was decided, for the log.

    Raises:
        UserError: if the total cannot be split evenly.
    """
    loader, total = cfg.train_dataloader, cfg.get('total_batch_size')
    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('enable'):
        base = scaling.get('base_batch_size') or total
        if base is None:
            raise UserError('--auto-scale-lr needs `total_batch_size`, which the lr is for.')
        cfg.auto_scale_lr = dict(enable=True, base_batch_size=base)
        total = loader.batch_size * processes
        scaled = f'; learning rate scaled by {total}/{base}'
    elif total is None:
        total = loader.batch_size * processes * cfg.optim_wrapper.get('accumulative_counts', 1)
        scaled = ''
    else:
        loader.batch_size = _batch_per_process(loader.batch_size, total, processes)
        scaled = ''
    accumulation = total // (loader.batch_size * processes)
    cfg.optim_wrapper.accumulative_counts = accumulation
    loader.drop_last = True
    if accumulation > 1 and loader.sampler.type == 'EpochSampler':
        loader.sampler.multiple_of = total  # others: mmengine weighs the last, shorter step
    return (
        f'{total} samples per optimiser step = batch size {loader.batch_size} x {processes} '
        f'process(es) x {accumulation} accumulated iteration(s){scaled}'
    )


def _batch_per_process(most: int, total: int, processes: int) -> int:
    batch = min(most, total // processes)
    if batch and total % (batch * processes) == 0:
        return batch
    if total % processes:
        step = max(batch, 1) * processes
        nearest = max(1, round(total / step)) * step
        hint = f'use a multiple of {processes}, for example total_batch_size={nearest}'
    else:
        share = total // processes
        fitting = [size for size in range(1, share + 1) if share % size == 0]
        below = [size for size in fitting if size <= batch][-1:]
        above = [size for size in fitting if size > batch][:1]
        sizes = ' or '.join(map(str, below + above))
        hint = f'use train_dataloader.batch_size={sizes}'
    raise UserError(
        f'total_batch_size={total} is not a whole number of batches of {batch} on {processes} '
        f'process(es): {hint}, or --auto-scale-lr.'
    )


def adapt_to_cpu(cfg: Config) -> list[str]:
    """Replace what only works on a GPU.

    ``AmpOptimWrapper`` becomes bfloat16 on the CPU if the config asks for that type
    (``optim_wrapper.dtype='bfloat16'``) and the CPU multiplies it; float32 otherwise, so
    that a config that leaves the type open trains alike on every CPU.

    Returns:
        What was replaced and matters to the result, for the log.
    """
    notes = []
    wrapper = cfg.optim_wrapper
    if 'AmpOptimWrapper' in (name := wrapper.get('type', '')):
        gpu_only = ('type', 'loss_scale', 'dtype', 'use_fsdp')
        kept = {key: value for key, value in wrapper.items() if key not in gpu_only}
        asked, pays = wrapper.get('dtype') == 'bfloat16', multiplies(torch.bfloat16)
        if asked and pays:
            cfg.optim_wrapper = ConfigDict(type='mmvideomac.CPUAmpOptimWrapper', **kept)
            notes.append('No GPU: mixed precision in bfloat16, which this CPU multiplies.')
        else:
            plain = name.replace('AmpOptimWrapper', 'OptimWrapper')
            cfg.optim_wrapper = ConfigDict(type=plain, **kept)
            note = f'No GPU: mixed precision ({name}) is off, training in float32.'
            if asked:
                note += ' This CPU only emulates bfloat16.'
            elif pays:
                note += ' optim_wrapper.dtype=bfloat16 is faster on this CPU.'
            notes.append(note)
    cfg.train_dataloader.pin_memory = False
    if cfg.get('launcher', 'none') != 'none':
        # mmengine would pass the local rank, as for a GPU
        cfg.model_wrapper_cfg = dict(_data_parallel(cfg), device_ids=None)
        _replace_type(cfg.model, 'SyncBN', 'mmvideomac.CPUSyncBN')
    return notes


def adapt_to_gpu(cfg: Config) -> list[str]:
    """Decide what the config leaves to the GPU.

    * ``AmpOptimWrapper`` without ``dtype``: bfloat16 where the GPU multiplies it (Ampere and
      newer), float16 elsewhere. The loss is scaled for float16 alone: bfloat16 has the range
      of float32.
    * ``env_cfg.allow_tf32`` (default True): what runs in float32 is multiplied in TF32.
    * ``randomness.deterministic``: cuBLAS is told too, which mmengine leaves to the user.

    Returns:
        What was decided and matters to the result, for the log.
    """
    notes, wrapper = [], cfg.optim_wrapper
    if 'AmpOptimWrapper' in wrapper.get('type', ''):
        if wrapper.get('dtype') is None:
            bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
            wrapper.dtype = 'bfloat16' if bfloat16 else 'float16'
        if wrapper.dtype == 'bfloat16':
            wrapper.loss_scale = dict(enabled=False)
        notes.append(f'Mixed precision in {wrapper.dtype}.')
    tf32 = cfg.get('env_cfg', {}).get('allow_tf32', True)
    allow_tf32(tf32)
    if tf32 and not notes:
        notes.append('Float32 products are computed in TF32; env_cfg.allow_tf32=False stops that.')
    if cfg.get('randomness', {}).get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    if cfg.get('launcher', 'none') != 'none' and cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = _data_parallel(cfg)
    return notes


def _data_parallel(cfg: Config) -> dict:
    """mmengine's default wrapper, but gradients are kept once, in the buckets that travel."""
    return dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
        gradient_as_bucket_view=True,
    )


def _replace_type(cfg: ConfigDict | list, old: str, new: str) -> None:
    """Name another class wherever ``cfg`` names ``old``."""
    for value in cfg.values() if isinstance(cfg, dict) else cfg:
        if isinstance(value, (dict, list)):
            _replace_type(value, old, new)
    if isinstance(cfg, dict) and cfg.get('type') == old:
        cfg['type'] = new


def _join_cpu_processes(cfg: Config) -> None:
    dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    init_cpu_processes(cfg.launcher, dist_cfg.get('timeout', 1800))


def init_cpu_processes(launcher: str, timeout: float) -> None:
    """Join the processes of a run without GPUs (mmengine's way needs CUDA).

    Args:
        launcher: See :func:`process_info`.
        timeout: Seconds that a process waits for the others, here and in collectives.
    """
    rank, processes, local_rank = process_info(launcher)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(local_rank))
    os.environ.setdefault('MASTER_PORT', '29500')
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        nodes = os.environ['SLURM_NODELIST']
        command = ['scontrol', 'show', 'hostnames', nodes]
        hosts = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        os.environ['MASTER_ADDR'] = hosts.stdout.split()[0]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))


def set_checkpoint(cfg: Config, resume: str | None) -> str | None:
    """Decide what to start from.

    Where torchrun may start the processes again (``--max-restarts``) that is always the newest
    complete checkpoint of the work directory, if there is one: which start this is a process
    cannot tell, since a node that joins later counts from 0.

    Args:
        cfg: Its ``load_from`` is replaced when there is something to resume.
        resume: ``'auto'`` for the newest complete checkpoint of the work
            directory (none: start as the config says), a path, or None.

    Returns:
        What was decided, for the log.

    Raises:
        UserError: if a checkpoint file is missing or incomplete.
    """
    if int(os.environ.get('TORCHELASTIC_MAX_RESTARTS', 0)):
        resume = find_latest_checkpoint(cfg.work_dir) or resume or 'auto'
    auto = resume is None and cfg.get('resume') and not cfg.get('load_from')
    if resume == 'auto' or auto:
        auto = True
        resume = find_latest_checkpoint(cfg.work_dir)
        cfg.resume = resume is not None
    if resume is not None:
        cfg.resume, cfg.load_from = True, resume
    path = cfg.get('load_from')
    if path is None:
        return (
            f'No checkpoint in {cfg.work_dir} yet: starting from the beginning.' if auto else None
        )
    if '://' not in path and not is_complete(path):
        state = 'is incomplete (was the disk full?)' if os.path.exists(path) else 'does not exist'
        raise UserError(f'The checkpoint {path} {state}.')
    return f'Resuming {path}.' if cfg.get('resume') else f'Starting from the weights of {path}.'


def prepare(cfg: Config, resume: str | None = None, device: str = 'auto') -> list[str]:
    """Fit a config with ``work_dir`` and ``launcher`` to this machine, in place.

    On return the config is ready for ``Runner.from_cfg``; without a GPU the
    processes of the run have joined. The work directory is locked until this process ends
    or the training is through.

    Returns:
        Notes for the log.

    Raises:
        UserError: in one message, before anything was started or written.
    """
    rank, processes, local_rank = process_info(cfg.launcher)
    check_device(device, local_rank)
    drop_disabled_hooks(cfg)
    notes = [set_batch_size(cfg, processes)]
    check_work_dir(cfg.work_dir)
    if rank == 0:  # for all; before anyone looks for what to resume
        lock_folder(cfg.work_dir)
    logging.raiseExceptions = False  # a log file on a full disk loses lines, not the run
    notes.append(set_checkpoint(cfg, resume))
    loader = cfg.train_dataloader
    if loader.get('num_workers', 0) == 0:
        loader.pop('persistent_workers', None)  # torch refuses it without workers
    if get_device() in ('cpu', 'mps'):
        keep_freed_memory()
        notes.extend([*adapt_to_cpu(cfg), product_library()])
        if cfg.launcher != 'none':
            _join_cpu_processes(cfg)
    elif get_device() == 'cuda':
        notes.extend(adapt_to_gpu(cfg))
    return [note for note in notes if note]


def prepare_test(cfg: Config, device: str = 'auto') -> None:
    """Fit a benchmark config with ``work_dir`` and ``launcher`` to this machine, in place.

    On return the config is ready for ``Runner.from_cfg``; without a GPU the
    processes of the run have joined.

    Raises:
        UserError: in one message, before anything was started or written.
    """
    if cfg.get('test_dataloader') is None or cfg.model.get('task') is None:
        raise UserError('this is no benchmark config: take one of configs/benchmarks/')
    _, _, local_rank = process_info(cfg.launcher)
    check_device(device, local_rank)
    drop_disabled_hooks(cfg)
    check_work_dir(cfg.work_dir)
    if cfg.launcher != 'none':
        cfg.model_wrapper_cfg = dict(type='Replica')
        if get_device() in ('cpu', 'mps') and not distributed.is_initialized():
            _join_cpu_processes(cfg)
