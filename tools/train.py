"""Train a model from a config.

python tools/train.py configs/videomac_cnxv2s_yt18.py
python tools/train.py CONFIG --resume                # go on where it stopped
bash tools/dist_train.sh CONFIG 8                    # 8 GPUs, or 8 CPU processes
"""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

# Read when torch loads. OpenMP threads that spin while they wait take the cores
# from the loader's workers: on two cores training is several times slower.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmvideomac.engine.fit_to_data import fit_to_data
from mmvideomac.engine.gpu_memory import explains_gpu_memory
from mmvideomac.engine.launch import prepare
from mmvideomac.engine.watchdog import watched
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import REPORTED_ERRORS, reports_errors
from mmvideomac.utils.files import write_file


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='folder of checkpoints and logs, of one run at a time; default: work_dirs/<name of '
        'the config>',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue a run exactly where it was saved: from the given checkpoint, or by default '
        'from the newest complete one in the work directory (none there: from the beginning)',
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision (GPU only)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the number of processes, instead of accumulating '
        'gradients up to total_batch_size',
    )
    parser.add_argument(
        '--device',
        choices=['auto', 'cuda'],
        default='auto',
        help='cuda: stop if there is no GPU, rather than train on the CPU. '
        '(CUDA_VISIBLE_DEVICES=-1 trains on the CPU of a machine that has one.)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_cfg.max_epochs=10 "a.b=[1,2]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed run',
    )
    # Passed by torch.distributed.launch; torchrun sets LOCAL_RANK itself.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Write the command line into the config."""
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(args.config).stem}'
    if args.amp:
        plain = cfg.optim_wrapper.get('type', 'OptimWrapper').replace('AmpOptim', 'Optim')
        cfg.optim_wrapper.type = plain.replace('OptimWrapper', 'AmpOptimWrapper')
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    return cfg


def run(args: argparse.Namespace) -> None:
    """Train as the command line says.

    Raises:
        UserError: if training cannot start.
        ValueError, OSError, FloatingPointError: for data, files and settings at fault.
    """
    cfg = merge_args(load_config(args.config, args.cfg_options), args)
    with watched(cfg) as watchdog:
        notes = fit_to_data(cfg, args.resume) if cfg.get('fit_to_data') else []
        notes += prepare(cfg, args.resume, args.device)
        runner = Runner.from_cfg(cfg)
        if watchdog is not None:
            runner.register_hook(watchdog)
        for note in notes:
            runner.logger.info(note)
        try:
            with explains_gpu_memory(cfg):
                runner.train()
        except REPORTED_ERRORS:
            # The user gets the message; where it came from is for the log.
            path = Path(runner.log_dir, f'traceback_{runner.rank}.txt')
            with contextlib.suppress(OSError):  # its folder may be what is at fault
                write_file(path, traceback.format_exc())
            runner.logger.error(f'Training stopped. Details: {path}')
            raise


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
