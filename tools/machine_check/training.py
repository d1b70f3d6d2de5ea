"""A short pre-training by tools/train.py: whole, and ended by SIGTERM and resumed."""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.datasets import find_videos

from .parts import run_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'videomac_quickstart_cpu.py'

#: By device: pairs of an epoch, of a batch, loader processes.
SIZES = dict(cpu=(96, 16, 1), cuda=(4096, 128, 4))
EPOCHS = 2
VIDEOS = 24


def write_config(clips: Path, device: str, path: Path) -> int:
    """The quickstart's recipe, small; returns the iterations of the whole training."""
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    pairs, batch, workers = SIZES[device]
    videos = min(VIDEOS, len(find_videos(str(clips))))
    loader = cfg.train_dataloader
    loader.update(batch_size=batch, num_workers=workers, persistent_workers=True)
    loader.dataset.data_root = str(clips)
    loader.dataset.sampling = dict(type='per_video', repeats=math.ceil(pairs / videos))
    loader.dataset.indices = videos
    cfg.total_batch_size = batch
    cfg.train_cfg.max_epochs = EPOCHS
    warmup, cosine = cfg.param_scheduler
    warmup.end = 1
    cosine.update(begin=1, end=EPOCHS, T_max=EPOCHS - 1)
    iterations = videos * loader.dataset.sampling.repeats // batch * EPOCHS
    cfg.default_hooks.logger.interval = max(1, iterations // 12)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 1
    cfg.default_hooks.reconstruction = None
    # Only then are two runs of a GPU alike to the last bit.
    cfg.randomness.deterministic = device == 'cuda'
    cfg.dump(path)
    return iterations


def train_and_resume(clips: Path, device: str, out: Path, seconds: float) -> dict:
    """Rows of the runs, and how far the resumed one ends from the uninterrupted one.

    On the CPU that must be nowhere. On GPUs also: float16, the settings of a usual run (not
    deterministic), and two processes over NCCL where there are two GPUs.

    Raises:
        CommandFailed: if a run failed.
        RuntimeError: if the weights on the CPU differ.
        Overrun: beyond ``seconds``.
    """
    end = time.monotonic() + seconds
    config = out / 'training.py'
    iterations = write_config(clips, device, config)

    def run(name: str, *options: str, folder: str = '', stop_when=None, processes: int = 1) -> dict:
        work_dir = out / (folder or name)
        python, launcher = [sys.executable], ROOT / 'tools' / 'train.py'
        environment = {}
        if processes > 1:
            python, launcher = ['bash'], ROOT / 'tools' / 'dist_train.sh'
            environment = dict(
                PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
                VIRTUAL_ENV=sys.prefix,  # else the script looks for another Python
                PORT=str(_free_port()),
            )
        counts = [str(processes)] if processes > 1 else []
        command = [*python, launcher, config, *counts, '--work-dir', work_dir, *options]
        left = max(end - time.monotonic(), 1)
        start = time.monotonic()
        run_command(command, left, out / f'{name}.log', stop_when, **environment)
        return dict(run=name, seconds=time.monotonic() - start, **_figures(work_dir))

    rows = [run('whole')]
    rows.append(run('ended', folder='cut', stop_when=lambda: len(_scalars(out / 'cut')) > 6))
    stopped_at = rows[-1].get('iterations', iterations)
    rows.append(run('resumed', '--resume', folder='cut'))
    difference = _distance(out / 'whole', out / 'cut')
    if device == 'cpu' and difference:
        raise RuntimeError(f'the resumed run ends {difference:.3g} from the uninterrupted one')
    usual = ['--cfg-options', 'randomness.deterministic=False']
    if device == 'cuda':
        rows.append(run('usual', *usual))
        rows.append(run('float16', *usual, 'optim_wrapper.dtype=float16'))
    gpus = torch.cuda.device_count() if device == 'cuda' else 0
    if gpus > 1:
        rows.append(run('two processes, NCCL', *usual, processes=2, folder='nccl'))
    text = (
        f'Ended by SIGTERM at iteration {stopped_at} of {iterations}, resumed: final weights '
        f'differ by {difference:.3g} at most from the uninterrupted run.'
    )
    if gpus < 2:
        text += ' NCCL between two GPUs: left out, since there are not two.'
    return dict(rows=rows, text=text)


def _scalars(work_dir: Path) -> list[dict]:
    """What the newest run in a work directory logged so far."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = logs[-1].read_text().splitlines() if logs else []
    return [entry for line in lines if 'loss' in (entry := _parse(line))]


def _parse(line: str) -> dict:
    try:
        return json.loads(line)
    except ValueError:  # half written
        return {}


def _figures(work_dir: Path) -> dict:
    scalars = _scalars(work_dir)
    if not scalars:
        return {}
    # The first ones start the loader and choose kernels.
    pace = [
        entry['pairs_per_s'] for entry in scalars[len(scalars) // 2 :] if 'pairs_per_s' in entry
    ]
    figures = dict(
        iterations=scalars[-1].get('step'),
        first_loss=scalars[0]['loss'],
        last_loss=scalars[-1]['loss'],
        pairs_per_s=max(pace) if pace else None,
    )
    if 'memory' in scalars[-1]:
        figures['memory_bytes'] = scalars[-1]['memory'] * 2**20
    return figures


def _distance(whole: Path, resumed: Path) -> float:
    """Largest difference between the last weights of two work directories."""
    first, second = (
        read_state_dict(Path(folder, 'last_checkpoint').read_text().strip())
        for folder in (whole, resumed)
    )
    return max((first[key].double() - second[key].double()).abs().max().item() for key in first)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]
