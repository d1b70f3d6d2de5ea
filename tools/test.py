"""Evaluate an encoder by label propagation.

python tools/test.py configs/benchmarks/davis2017/dino.py CHECKPOINT
python tools/test.py CONFIG random               # the encoder as initialised
python tools/test.py CONFIG color                # no encoder: colours
bash tools/dist_test.sh CONFIG CHECKPOINT 8      # 8 GPUs, or 8 CPU processes

The encoder is that of the config: where it is another, say so, for example
--cfg-options model.backbone.arch=tiny. All tasks at once: tools/evaluate_encoder.py.

Clips that are done are kept below --work-dir, and are not gone through again: an
interrupted command goes on where it was when it is called again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

# Read when torch loads: threads that spin take the cores from the other processes.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmengine.config import DictAction
from mmengine.dist import is_main_process
from torch import distributed

from mmvideomac.engine.launch import prepare_test
from mmvideomac.engine.watchdog import watched
from mmvideomac.evaluation.benchmark import Evaluation, evaluate
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_json


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config of configs/benchmarks/')
    parser.add_argument(
        'checkpoint',
        help="of pre-training, of OpenMMLab, or a plain state dict; or 'random' or 'color'",
    )
    parser.add_argument(
        '--work-dir', help='folder of logs; default: work_dirs/<task>_<name of the config>'
    )
    parser.add_argument(
        '--out', metavar='DIR', help='also write predictions, as the official tools read them'
    )
    parser.add_argument(
        '--fresh', action='store_true', help='go through all clips, also those that are done'
    )
    parser.add_argument(
        '--device',
        choices=['auto', 'cuda'],
        default='auto',
        help='cuda: stop if there is no GPU, rather than run on the CPU',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. model.stage=4 model.rules.topk=7 '
        'test_dataloader.dataset.data_root=DIR',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # Passed by torch.distributed.launch; torchrun sets LOCAL_RANK itself.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def run(args: argparse.Namespace) -> Evaluation:
    """Evaluate as the command line says.

    Raises:
        UserError: if it cannot start.
        ValueError, OSError: for data, checkpoints and settings at fault.
    """
    path = Path(args.config)
    cfg = load_config(path, args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or f'work_dirs/{path.resolve().parent.name}_{path.stem}'
    )
    if args.out:
        cfg.test_evaluator.out_dir = args.out
    with watched(cfg):
        prepare_test(cfg, args.device)
        result = evaluate(cfg, args.checkpoint, args.fresh)
    if is_main_process():
        report = dict(checkpoint=args.checkpoint, config=args.config, **asdict(result))
        write_json(Path(cfg.work_dir, 'results.json'), report)
        print(f'\n{cfg.model.task}: {result.setting} ({result.clips} clips)')
        for name, value in result.metrics.items():
            print(f'  {name:<20} {value:6.2f}')
    if distributed.is_initialized():
        distributed.destroy_process_group()  # its threads may abort an exit
    return result


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    result = run(parse_args(argv))
    if result.error:
        raise UserError(f'stopped before the end: {result.error}')


if __name__ == '__main__':
    sys.exit(main())
