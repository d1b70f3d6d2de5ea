"""Pre-train a small ConvNet with VideoMAC on this machine, and report.

Sample clips are made (or --videos is taken), the speed of this machine decides how
much fits into --minutes, then tools/train.py runs, and tools/evaluate_encoder.py
compares the encoder with a random one in following objects, body parts and joints
through labelled sample clips. The result is work_dirs/quickstart/report.html. Ctrl-C
stops the training, or the comparison, early and still reports.

    bash tools/quickstart.sh [--videos FOLDER] [--minutes N]
"""

import argparse
import hashlib
import math
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.optim import AdamW

from mmvideomac.datasets import extract_frames, find_videos
from mmvideomac.engine.launch import prepare
from mmvideomac.registry import DATASETS, MODELS
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.folder_lock import unlock_folder
from mmvideomac.utils.run_tool import run_tool, train
from mmvideomac.visualization import write_report
from mmvideomac.visualization.curves import read_run
from mmvideomac.visualization.report import contact_sheet

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'videomac_quickstart_cpu.py'
OUT = ROOT / 'work_dirs' / 'quickstart'
EPOCHS = 10  # about
MAX_FILES, MAX_FRAMES = 500, 12_000  # taken of --videos: about a minute of decoding
SHORT_SIDE = 192  # of those frames; the crop is 160
MARKER = '.quickstart'  # of folders that are made here, and may be replaced
# Progress of an evaluation.
EVALUATION = re.compile(r'(\d+)/(\d+) \[\S+<([\d:]+), .*frame')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--videos', type=Path, metavar='FOLDER', help='your own clips')
    parser.add_argument('--minutes', type=float, default=5.0, help='of training (default 5)')
    parser.add_argument('--out', type=Path, default=OUT, help='default: work_dirs/quickstart')
    return parser.parse_args(argv)


def make_samples(out: Path, *options: str) -> None:
    """Run tools/data/make_sample_videos.py, which leaves a complete set alone."""
    tool = ROOT / 'tools' / 'data' / 'make_sample_videos.py'
    subprocess.run([sys.executable, tool, out, *options], check=True)


def read_clips(source: Path, out: Path) -> list[str]:
    """Data roots of the clips in a folder: their first frames, extracted, where they are files.

    Decoding video again and again would take longer than training on it.
    """
    clips = find_videos(str(source))
    folders = [clip.path for clip in clips if clip.reader == 'frames']
    files = [clip for clip in clips if clip.reader == 'video']
    print(f'1/5  Videos: {len(files)} files and {len(folders)} folders in {source}', flush=True)
    if not files:
        return [str(source)]
    if len(files) > MAX_FILES:
        print(f'     Using the first {MAX_FILES} files')
        files = files[:MAX_FILES]
    # Other or changed files, other frames.
    content = repr([(clip.path, clip.signature) for clip in files])
    frames = out / hashlib.sha256(content.encode()).hexdigest()[:8]
    errors = extract_frames(files, frames, SHORT_SIDE, max_frames=MAX_FRAMES // len(files))
    for error in errors[:3]:
        print(f'     {error}')
    if len(errors) > 3:
        print(f'     ... and {len(errors) - 3} more that cannot be read to the end')
    return [str(frames), *folders]


def measure_speed(cfg: Config, seconds: float = 10.0) -> float:
    """Pairs per second of real training steps, data loading included.

    The first steps, which start the workers and warm the caches, do not count.
    """
    model = MODELS.build(cfg.model).to(get_device()).train()
    optim_wrapper = OptimWrapper(AdamW(model.parameters(), lr=1e-4))
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, persistent_workers=False), seed=0)
    for step, batch in enumerate(loader):
        model.train_step(batch, optim_wrapper)
        model.update_target(0.9)
        if step == 1:
            start = time.monotonic()
        elif step > 1 and time.monotonic() - start > seconds:
            break
    return (step - 1) * loader.batch_size / (time.monotonic() - start)


def plan_training(cfg: Config, num_videos: int, pairs: float) -> None:
    """Spread about ``pairs`` samples over the videos and :data:`EPOCHS` epochs, in place.

    Every video gives as many pairs, at random places. Of more videos than an epoch has
    pairs only the first are used.
    """
    loader = cfg.train_dataloader
    per_epoch = max(round(pairs / EPOCHS), loader.batch_size)
    used = min(num_videos, per_epoch)
    repeats = max(round(per_epoch / used), math.ceil(loader.batch_size / used))
    loader.dataset.sampling = dict(type='per_video', repeats=repeats)
    loader.dataset.indices = used if used < num_videos else None
    epochs = max(2, round(pairs / (used * repeats)))
    iterations = used * repeats // loader.batch_size * epochs

    cfg.train_cfg.max_epochs = epochs
    warmup, cosine = cfg.param_scheduler
    warmup.end = 1
    cosine.update(begin=1, end=epochs, T_max=epochs - 1)
    hooks = cfg.default_hooks
    hooks.logger.interval = max(1, min(10, iterations // (3 * epochs)))
    hooks.reconstruction.interval = max(1, iterations // 4)
    hooks.checkpoint.max_keep_ckpts = 1


def evaluate(config: Path, checkpoint: Path, samples: Path, out: Path) -> bool:
    """Run tools/evaluate_encoder.py on the labelled sample clips, see :func:`run_tool`."""
    data = [word for task in ('davis', 'vip', 'jhmdb') for word in (f'--{task}', samples / task)]
    files = ['--json', out / 'results.json', '--pictures', out, '--work-dir', out / 'runs']
    # Half of each clip, at the cheapest method: about two minutes.
    encoders = [f'{config}:{checkpoint}@name=pre-trained', f'{config}:random@name=random']
    cheap = ['--max-frames', '24', '--stride-method', 'resample']
    command = ['evaluate_encoder.py', *encoders, *data, *files, *cheap]
    return run_tool(command, EVALUATION, 'frame {} of {}: {} left')


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run(args)
    except subprocess.CalledProcessError:
        return 1  # the tool has said why


def run(args: argparse.Namespace) -> int:
    if args.minutes <= 0:
        raise ValueError(f'--minutes must be positive, not {args.minutes:g}')
    samples, evaluation = args.out.resolve() / 'samples', args.out / 'label_propagation'
    made = [args.out / 'run', evaluation]
    for folder in made:
        if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).is_file():
            raise UserError(
                f'{folder} was not made by the quickstart, which would replace it. Move it away, '
                'or choose another --out.'
            )
    if args.videos:
        videos = read_clips(args.videos.resolve(), args.out.resolve() / 'frames')
        print('     Labelled sample clips, to compare encoders on', flush=True)
    else:
        videos = [str(samples / 'videos')]
        print(f'1/5  Sample clips in {samples}', flush=True)
    make_samples(samples)

    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    cfg.work_dir, cfg.launcher = str(args.out / 'run'), 'none'
    cfg.train_dataloader.dataset.data_root = videos
    for folder in made:
        if folder.exists():
            print(f'     Replacing the earlier {folder}')
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARKER).touch()
    prepare(cfg)

    print('2/5  Measuring the speed of this machine', flush=True)
    MMLogger.get_instance('quickstart', log_level='WARNING')  # warnings about videos only
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, sampling=dict(type='per_video')))
    plan_training(cfg, len(dataset), pairs=1e6)
    speed = measure_speed(cfg)
    unlock_folder(cfg.work_dir)  # for tools/train.py
    plan_training(cfg, len(dataset), pairs=60 * args.minutes * speed)
    config = args.out / 'videomac_quickstart.py'
    cfg.dump(config)

    print(f'3/5  Training: {speed:.0f} pairs/s, about {args.minutes:g} minutes', flush=True)
    finished, failed = train(config, args.out / 'run'), False

    print('4/5  Following labels through the sample clips, against a random encoder', flush=True)
    checkpoint = Path((args.out / 'run/last_checkpoint').read_text().strip())
    try:
        finished &= evaluate(config, checkpoint, samples, evaluation)
    except UserError as error:  # what was trained is worth a report all the same
        print(f'error: {error}', file=sys.stderr)
        failed = True

    print('5/5  Report', flush=True)
    steps = next_steps(config, checkpoint, videos[0], args)
    report = args.out / 'report.html'
    write_report(
        [read_run(args.out / 'run')],
        report,
        'VideoMAC quickstart',
        next_steps=steps,
        evaluation=evaluation,
        videos=contact_sheet(dataset),
    )
    print(f'\nReport: {report}\n')
    for text, command in steps:
        print(f'{text}\n    {command}\n')
    return 1 if failed else 0 if finished else 130


def next_steps(
    config: Path, checkpoint: Path, videos: str, args: argparse.Namespace
) -> list[tuple[str, str]]:
    """(explanation, shell command) pairs, for the repository root."""
    python = '.venv/bin/python' if (ROOT / '.venv').exists() else 'python'
    clip = find_videos(videos)[0].path
    again = ['bash', 'tools/quickstart.sh']
    if args.out.resolve() != OUT:
        again += ['--out', _short(args.out)]
    longer = [*again, '--minutes', '60']
    if args.videos:
        longer += ['--videos', _short(args.videos)]
    tool = 'tools/visualization/vis_reconstruction.py'
    files = [_short(config), _short(checkpoint), _short(Path(clip))]
    steps = [
        (
            'Look at other reconstructions of this model (any clips, folders of frames, or two '
            'images):',
            [python, tool, *files],
        ),
        (
            'All curves and pictures, live:',
            [python, '-m', 'tensorboard.main', '--logdir', _short(args.out / 'run')],
        ),
        ('Train for longer:', longer),
        (
            'The recipe of the paper on 8 GPUs, with YouTube-VOS in data/youtube_vos:',
            ['bash', 'tools/dist_train.sh', 'configs/videomac_cnxv2s_yt18.py', '8'],
        ),
    ]
    if not args.videos:
        steps.insert(2, ('Train on your own clips:', [*again, '--videos', 'FOLDER']))
    return [(text, shlex.join(command)) for text, command in steps]


def _short(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == '__main__':
    sys.exit(main())
