"""Kill a training again and again, resume it, and compare its end with an undisturbed one.

python tools/soak.py --kills 100 --seed 0                     # a tiny network, a few minutes
python tools/soak.py --kills 20 --processes 2 --signals KILL,TERM
python tools/soak.py --kills 20 --disk-full                   # on a small tmpfs (root)
python tools/soak.py CONFIG --kills 10 --out /shared/soak     # your config and file system
python tools/soak.py --steps 2000                             # do memory, files, threads grow?

Trainings are killed while they start, inside steps, and while a checkpoint or the index of
the videos is being written; a kill counts as inside a write if it left an unfinished file.
When a training has been resumed to its end, weights, EMA target and optimiser must equal those
of the undisturbed one bit for bit. A table (--markdown) tells where the kills fell, what was
resumed and how many steps were lost. The exit status is 1 if anything differs.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.utils.tensorboard
import train
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from mmvideomac.checkpoint.files import find_latest_checkpoint
from mmvideomac.registry import HOOKS
from mmvideomac.utils.config import find_config, load_config
from mmvideomac.utils.errors import UserError, reports_errors
from mmvideomac.utils.files import write_file
from mmvideomac.utils.progress import progress

#: Where kills are aimed at -> how often; where they fall is seen afterwards.
AIMS = {'start-up': 1, 'step': 3, 'checkpoint write': 5, 'index write': 3}
WRITES = ('checkpoint write', 'index write')
#: Seconds that the other processes get to end by themselves, as from torchrun.
_GRACE = 15.0
#: Bounds of what may grow between the first epoch and the last: share, MiB.
_GROWTH, _GROWTH_MIB = 0.03, 16.0

#: Samples of the generated training; videos too, so that repeats are steps.
_BATCH = 2

_context = multiprocessing.get_context('fork')  # each start is spared the imports
_progress = None  # in a training: first and last finished iteration of this start


@HOOKS.register_module()
class SoakHook(Hook):
    """Tells the tool how far a training has come."""

    priority = 'HIGHEST'  # a step counts as done before anything is saved

    def before_train_epoch(self, runner: Runner) -> None:
        if _progress[0] < 0:
            _progress[0] = _progress[1] = runner.iter

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        _progress[1] = runner.iter + 1


@HOOKS.register_module()
class UsageHook(Hook):
    """Samples what a process holds, ``samples`` times in an epoch, and writes a table."""

    def __init__(self, samples: int = 10) -> None:
        self.samples, self.rows = samples, []

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        if (batch_idx + 1) % (len(runner.train_dataloader) // self.samples) == 0:
            self.rows.append([runner.iter + 1, runner.epoch + 1, *usage()])

    def after_train(self, runner: Runner) -> None:
        np.save(Path(runner.work_dir, 'usage.npy'), np.array(self.rows))


def usage() -> tuple[float, int, int, int]:
    """Resident memory of this process in MiB, open files, threads, child processes (Linux)."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    children = sum(
        len(path.read_text().split()) for path in Path('/proc/self/task').glob('*/children')
    )
    return (
        pages * os.sysconf('SC_PAGE_SIZE') / 2**20,
        len(os.listdir('/proc/self/fd')),
        len(os.listdir('/proc/self/task')),
        children,
    )


@dataclass
class Kill:
    """What was done to a training and what became of it."""

    training: int
    processes: int
    signal: str
    victims: str
    place: str
    disk_full: bool
    step: int
    seconds: float
    resumed_at: int | None = None

    @property
    def lost(self) -> int | None:
        """Steps that were made again."""
        return None if self.resumed_at is None else max(0, self.step - self.resumed_at)


@dataclass
class Training:
    """A work directory, and the processes that train in it, if any."""

    config: Path
    work_dir: Path
    processes: int
    running: list = field(default_factory=list)

    @property
    def cache(self) -> Path:
        """Folder of the index of the videos."""
        return self.work_dir.with_name(self.work_dir.name + '_index')

    @property
    def log(self) -> Path:
        """What the processes say."""
        return self.work_dir.with_name(self.work_dir.name + '.log')

    def start(self) -> None:
        """Train, from the newest checkpoint on."""
        self.began = time.monotonic()
        self.left_before = self.unfinished()
        self.progress = _context.Array('q', [-1, -1])
        with closing(socket.socket()) as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        self.running = [
            _context.Process(target=_train, args=(self, rank, port))
            for rank in range(self.processes)
        ]
        for process in self.running:
            process.start()

    @property
    def alive(self) -> bool:
        """Whether all processes run."""
        return all(process.is_alive() for process in self.running)

    @property
    def resumed_at(self) -> int:
        """Iteration of this start; -1: not there yet."""
        return self.progress[0]

    @property
    def step(self) -> int:
        """Iterations done; -1: none since this start."""
        return self.progress[1]

    def join(self) -> list[int]:
        """Wait for the end, as torchrun does: when one has failed, the others are ended.

        Returns:
            Exit statuses.
        """
        while any(process.is_alive() for process in self.running):
            if any(process.exitcode for process in self.running):
                self._end_others()
            time.sleep(0.005)
        return [process.exitcode for process in self.running]

    def _end_others(self) -> None:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + _GRACE
            for process in self.running:
                if process.is_alive():
                    os.kill(process.pid, stop)
            while time.monotonic() < end and any(p.is_alive() for p in self.running):
                time.sleep(0.005)

    def unfinished(self) -> set[str]:
        """Files that are being written, or were when the writer was killed."""
        return {
            name
            for folder in (self.work_dir, self.cache)
            if folder.is_dir()
            for name in os.listdir(folder)
            if name.startswith('.') and name.endswith('.part')
        }

    def failed_saves(self) -> int:
        """How often its log reports one."""
        return self.log.read_text().count('NOT SAVED') if self.log.is_file() else 0


def _train(training: Training, rank: int, port: int) -> None:
    """``tools/train.py CONFIG --resume``, in a process of its own."""
    global _progress
    _progress = training.progress
    Config.pretty_text = property(_unformatted)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(training.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ['MMVIDEOMAC_CACHE'] = str(training.cache)
    argv = [str(training.config), '--work-dir', str(training.work_dir), '--resume']
    if training.processes > 1:
        argv += ['--launcher', 'pytorch']
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(training.processes),
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=str(port),
        )
    hook = ['default_hooks.soak.type=SoakHook'] if rank == 0 else []
    sys.exit(train.main([*argv, *(['--cfg-options', *hook] if hook else [])]))


def _unformatted(cfg: Config) -> str:
    """The text of a config. To format it nicely takes longer than the steps of a tiny network."""
    return '\n'.join(f'{key} = {value!r}' for key, value in cfg.to_dict().items()) + '\n'


class Soak:
    """Trainings that are killed until ``kills`` were."""

    disk = None
    steps = 0

    def __init__(self, args: argparse.Namespace, config: Path) -> None:
        self.args, self.config = args, config
        self.random = random.Random(args.seed)
        self.kills: list[Kill] = []
        self.differences: list[str] = []
        self.completed = 0
        self.failed_saves = 0

    def run(self) -> None:
        """Train undisturbed, then kill."""
        bar = progress(total=self.args.kills, what='killing', unit='kill')
        with bar, trainings_end():
            references = {number: self._reference(number) for number in self.args.processes}
            with self._disk(references.values()) as self.disk, trainings_end():
                while len(self.kills) < self.args.kills:
                    number = self.random.choice(self.args.processes)
                    self._soak_one(references[number], number, bar.update)

    def _disk(self, references: Iterable[Path]) -> AbstractContextManager:
        if not self.args.disk_full:
            return nullcontext()
        sizes = [file.stat().st_size for folder in references for file in folder.rglob('*')]
        return mounted_disk(self.args.out / 'disk', size_mib=sum(sizes) // 2**20 * 3 + 4)

    def _reference(self, processes: int) -> Path:
        training = Training(self.config, self.args.out / f'undisturbed_{processes}', processes)
        training.start()
        if any(training.join()):
            raise UserError(f'the undisturbed training failed: see {training.log}')
        self.steps = training.step
        self.startup = 0.5 * (time.monotonic() - training.began)
        return training.work_dir

    def _soak_one(self, reference: Path, processes: int, update: Callable) -> None:
        """Train to the end, killed on the way."""
        folder = self.disk.folder if self.disk else self.args.out
        training = Training(self.config, folder / f'killed_{self.completed}', processes)
        kill = None
        while True:
            enough = len(self.kills) >= self.args.kills
            aim = self.random.choices(list(AIMS), list(AIMS.values()))[0]
            if aim == 'index write':  # it is written when there is none
                shutil.rmtree(training.cache, ignore_errors=True)
            training.start()
            killed = None if enough else self._kill(training, aim)
            if self.disk and self.random.random() < 0.5:
                self.disk.free()  # before what a signal asked for is given up
            statuses = training.join()
            if self.disk:
                self.disk.free()
            if kill is not None and training.resumed_at >= 0:
                kill.resumed_at, kill = training.resumed_at, None
            if killed is None:
                if any(statuses):
                    raise UserError(f'a training failed by itself: see {training.log}')
                break
            killed.place = _place(training, killed.place)
            self.kills.append(killed)
            if kill is not None:  # killed before it had resumed: what it resumes is told next
                killed.step = max(killed.step, kill.step)
                kill.resumed_at = None
            kill = killed
            update()
        self.completed += 1
        self.failed_saves += training.failed_saves()
        self._compare(reference, training)

    def _kill(self, training: Training, aim: str) -> Kill | None:
        """Kill at a random moment of a kind; None if the training ended before."""
        rng = self.random
        outage = self._outage(training) if self.disk else itertools.repeat(None)
        moment = self._moment(training, aim)
        while not next(moment):
            next(outage)
            if not training.alive:
                return None
            time.sleep(0.0003)
        full = self.disk is not None and self.disk.full
        name = rng.choice(self.args.signals)
        ranks = list(range(training.processes))
        victims = ranks if len(ranks) == 1 or rng.random() < 0.5 else [rng.choice(ranks)]
        alive = [rank for rank in victims if training.running[rank].is_alive()]
        if not alive:
            return None
        for rank in alive:
            os.kill(training.running[rank].pid, getattr(signal, f'SIG{name}'))
        return Kill(
            self.completed + 1,
            training.processes,
            name,
            'all' if victims == ranks else f'rank {victims[0]}',
            # Of a signal that lets the writer finish, nothing is left to be seen.
            aim if name != 'KILL' and aim in WRITES else '',
            full,
            training.step,
            time.monotonic() - training.began,
        )

    def _outage(self, training: Training) -> Iterator[None]:
        """Fill the disk for a while; to be called again and again."""
        later = self.random.randrange(5)
        while training.resumed_at < 0 or training.step < training.resumed_at + later:
            yield
        self.disk.fill()
        end = time.monotonic() + self.random.uniform(0.2, 5)
        while time.monotonic() < end:
            yield
        self.disk.free()
        while True:
            yield

    def _moment(self, training: Training, aim: str) -> Iterator[bool]:
        """Whether the moment has come, asked again and again."""
        if aim == 'start-up':
            wait = self.random.uniform(0, self.startup)
            while training.step < 0 and time.monotonic() - training.began < wait:
                yield False
        elif aim == 'step':
            steps = self.random.randint(0, max(1, self.steps // 5))
            while training.resumed_at < 0 or training.step < training.resumed_at + steps:
                yield False
            end = time.monotonic() + self.random.uniform(0, 0.1)
            while time.monotonic() < end:
                yield False
        else:
            # Kills of the index would otherwise all hit the first write of a start.
            skipped = self.random.randint(0, 3) if aim == 'checkpoint write' else 0
            before = training.unfinished()
            while True:
                new = training.unfinished() - before
                if any(_is_index(name) == (aim == 'index write') for name in new):
                    before |= new
                    skipped -= 1
                if skipped < 0:
                    break
                yield False
        while True:
            yield True

    def _compare(self, reference: Path, training: Training) -> None:
        ours, theirs = (
            torch.load(find_latest_checkpoint(folder), map_location='cpu')
            for folder in (training.work_dir, reference)
        )
        keys = ('state_dict', 'optimizer', 'param_schedulers')
        different = [key for key in keys for key in _different(ours.get(key), theirs.get(key), key)]
        if left := [name for name in training.unfinished() if not _is_index(name)]:
            different.append(f'unfinished files {left}')
        if different:
            shown = ', '.join(different[:3])
            self.differences.append(f'{training.work_dir}: {len(different)} differ ({shown}, ...)')
        else:
            for path in (training.work_dir, training.cache):
                shutil.rmtree(path, ignore_errors=True)
            training.log.unlink()

    def report(self) -> str:
        """The tables, in Markdown."""
        places = Counter(kill.place for kill in self.kills)
        inside = sum(places[place] for place in WRITES)
        lost = [kill.lost for kill in self.kills if kill.lost is not None]
        verdict = 'all equal the undisturbed ones bit for bit'
        if self.differences:
            verdict = f'{len(self.differences)} DIFFER: ' + '; '.join(self.differences)
        lines = [
            f'{len(self.kills)} kills of {self.completed} trainings of {self.steps} steps (seed '
            f'{self.args.seed}), {inside} of them inside a write; {verdict}.',
            '',
        ]
        if lost:
            lines += [
                f'Steps made again per kill: median {statistics.median(lost):g}, most {max(lost)}.',
                '',
            ]
        if self.disk:
            full = sum(kill.disk_full for kill in self.kills)
            lines += [f'{full} kills on a full disk; {self.failed_saves} failed saves.', '']
        lines += ['| where | ' + ' | '.join(names := self._columns()) + ' |']
        lines += ['|---' * (len(names) + 1) + '|']
        for place in sorted(places):
            found = Counter(_column(kill) for kill in self.kills if kill.place == place)
            lines.append(f'| {place} | ' + ' | '.join(str(found[name]) for name in names) + ' |')
        columns = 'kill', 'training', 'signal', 'to', 'where', 'step', 'resumed', 'lost', 'after'
        lines += ['', '| ' + ' | '.join(columns) + ' |', '|---' * len(columns) + '|']
        for number, kill in enumerate(self.kills, start=1):
            step = '-' if kill.step < 0 else kill.step
            resumed, lost = ('-' if v is None else v for v in (kill.resumed_at, kill.lost))
            place = kill.place + ', disk full' * kill.disk_full
            lines.append(
                f'| {number} | {kill.training} | {kill.signal} | {kill.victims} of '
                f'{kill.processes} | {place} | {step} | {resumed} | {lost} | '
                f'{kill.seconds:.1f} s |'
            )
        return '\n'.join(lines) + '\n'

    def _columns(self) -> list[str]:
        return sorted({_column(kill) for kill in self.kills})

    @property
    def in_writes(self) -> int:
        """Kills that left an unfinished file."""
        return sum(kill.place in WRITES and kill.signal == 'KILL' for kill in self.kills)


def _column(kill: Kill) -> str:
    return f'{kill.signal}, {kill.processes} process' + 'es' * (kill.processes > 1)


def _is_index(name: str) -> bool:
    return '.json.' in name


def _place(training: Training, place: str) -> str:
    """Where a kill fell, from what it left."""
    left = training.unfinished() - training.left_before
    for write in WRITES:
        if any(_is_index(name) == (write == 'index write') for name in left):
            return write
    return place or ('start-up' if training.step < 0 else 'step')


def _different(ours: object, theirs: object, key: str) -> list[str]:
    """Where two checkpoints differ."""
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [key]
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        pairs = [(name, ours[name], theirs[name]) for name in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(i, *pair) for i, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        return [] if ours == theirs else [key]
    return [found for name, a, b in pairs for found in _different(a, b, f'{key}.{name}')]


@contextmanager
def trainings_end() -> Iterator[None]:
    """No training outlives what happens inside, however it ends."""
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        for process in multiprocessing.active_children():
            process.kill()
            process.join()


class Disk:
    """A small file system in memory, which a file fills now and then."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.full = folder, False

    def fill(self) -> None:
        """Leave no room."""
        if self.full:
            return
        self.full = True
        try:
            with (self.folder / 'ballast').open('wb', buffering=0) as file:
                while file.write(bytes(2**16)):
                    pass
        except OSError:
            pass

    def free(self) -> None:
        """Give the room back."""
        (self.folder / 'ballast').unlink(missing_ok=True)
        self.full = False


@contextmanager
def mounted_disk(folder: Path, size_mib: int) -> Iterator[Disk]:
    """A tmpfs for the time of the test.

    Raises:
        UserError: if it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ['mount', '-t', 'tmpfs', '-o', f'size={size_mib}m', 'tmpfs', str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'--disk-full mounts a small tmpfs, which needs root: {done.stderr}')
    try:
        yield Disk(folder)
    finally:
        subprocess.run(['umount', str(folder)], check=True)


def write_videos(folder: Path, frames: int = 6) -> None:
    """Folders of frames of drifting noise, as many as a batch has samples."""
    rng = np.random.default_rng(0)
    for video in range(_BATCH):
        target = folder / f'video{video}'
        target.mkdir(parents=True, exist_ok=True)
        scene = Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)).resize((110, 88))
        for frame in range(frames):
            scene.crop((frame, 0, 100 + frame, 80)).save(target / f'{frame:05}.png')


def tiny_config(folder: Path, epochs: int, repeats: int, minutes: float | None, **options) -> Path:
    """Pre-training of a tiny network: ``repeats`` steps an epoch.

    Args:
        folder: Of the config and the videos.
        epochs, repeats: Length.
        minutes: Between saves inside an epoch.
        **options: Others of the config.
    """
    write_videos(folder / 'videos')
    cfg = Config.fromfile(find_config('videomac_quickstart_cpu.py'))
    cfg.model.backbone.arch = dict(depths=[1, 1, 1, 1], channels=[16, 32, 64, 128])
    crop = dict(cfg.train_pipeline[0], scale=64)
    cfg.merge_from_dict(
        {
            'model.head': dict(in_channels=128, embed_dims=64),
            'train_dataloader': dict(
                batch_size=_BATCH,
                dataset=dict(
                    data_root=str(folder / 'videos'),
                    ann_file='',
                    pipeline=[crop, cfg.train_pipeline[1]],
                    sampling=dict(type='per_video', repeats=repeats, gap=(1, 1)),
                ),
            ),
            'total_batch_size': _BATCH,
            'train_cfg.max_epochs': epochs,
            'param_scheduler': [
                dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True)
            ],
            'default_hooks.checkpoint': dict(interval=1, max_keep_ckpts=2, minutes=minutes),
            'default_hooks.reconstruction': None,
            **options,
        }
    )
    path = folder / 'tiny.py'
    cfg.dump(path)
    return path


def check_flat(args: argparse.Namespace) -> int:
    """Train three epochs with a probe after each, and compare what the process holds."""
    config = tiny_config(
        args.out,
        epochs=3,
        repeats=-(-args.steps // 3),
        minutes=0.2,
        val_dataloader=dict(
            batch_size=1,
            num_workers=1,
            dataset=dict(
                type='CycleClipDataset',
                data_root=str(args.out / 'videos'),
                videos=['video0', 'video1'],
                steps=2,
                short_side=64,
                grid=2,
            ),
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        val_evaluator=dict(type='CycleMetric'),
        val_cfg=dict(type='CycleProbeLoop'),
        **{'default_hooks.usage': dict(type='UsageHook')},
    )
    training = Training(config, args.out / 'flat', 1)
    with trainings_end():
        training.start()
        if any(training.join()):
            raise UserError(f'the training failed: see {training.log}')
    rows = np.load(training.work_dir / 'usage.npy')
    first, last = (rows[rows[:, 1] == epoch][:, 2:] for epoch in (2, 3))
    first, last = np.median(first, axis=0), np.median(last, axis=0)
    print('| step | epoch | memory, MiB | files | threads | children |\n' + '|---' * 6 + '|')
    for step, epoch, memory, *counts in rows:
        counts = ' | '.join(f'{count:.0f}' for count in counts)
        print(f'| {step:.0f} | {epoch:.0f} | {memory:.1f} | {counts} |')
    allowed = np.array([max(_GROWTH * first[0], _GROWTH_MIB), 0, 0, 0])
    flat = bool((last - first <= allowed).all())
    print(
        f'\nFrom the second epoch to the third (medians): memory {last[0] - first[0]:+.1f} MiB '
        f'(allowed {allowed[0]:.1f}), files {last[1] - first[1]:+.0f}, threads '
        f'{last[2] - first[2]:+.0f}, children {last[3] - first[3]:+.0f} (allowed 0): '
        f'{"flat" if flat else "GROWS"}.'
    )
    return 0 if flat else 1


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', nargs='?', type=Path, help='of a short training; default: a tiny one, generated')
    add('--kills', type=int, default=20, metavar='N', help='default: 20')
    add('--seed', type=int, default=0, metavar='S', help='of the moments; default: 0')
    add('--processes', default='1', metavar='1|2|1,2', help='of a training; default: 1')
    add(
        '--signals',
        default='KILL',
        metavar='NAMES',
        help='to kill with, of KILL, TERM, USR1, INT, HUP; default: KILL',
    )
    add('--disk-full', action='store_true', help='on a small tmpfs that fills up (needs root)')
    add('--steps', type=int, metavar='N', help='kill nothing: does anything grow in N steps?')
    add('--out', type=Path, metavar='DIR', help='work directories; default: a temporary folder')
    add('--markdown', type=Path, metavar='FILE', help='also write the tables here')
    args = parser.parse_args(argv)
    args.signals = args.signals.split(',')
    if unknown := {*args.signals} - {'KILL', 'TERM', 'USR1', 'INT', 'HUP'}:
        parser.error(f'--signals: {", ".join(sorted(unknown))}')
    try:
        args.processes = [int(number) for number in args.processes.split(',')]
    except ValueError:
        parser.error('--processes takes numbers, as 1,2')
    if args.kills < 1 or min(args.processes) < 1:
        parser.error('--kills and --processes must be at least 1')
    if args.steps is not None and args.steps < 30:
        parser.error('--steps must be at least 30')
    return args


def run(args: argparse.Namespace) -> int:
    """Soak as the command line says; returns the exit status.

    Raises:
        UserError: if a training fails by itself, or no tmpfs can be mounted.
    """
    # The trainings are forked from this process: there must be no threads of OpenMP in it.
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.steps:
        return check_flat(args)
    if args.config:
        load_config(args.config)
        config = args.config
    else:
        config = tiny_config(args.out, epochs=5, repeats=5, minutes=0.004)
    soak = Soak(args, config)
    try:
        soak.run()
    finally:  # also of what was done when Ctrl-C ends it
        if soak.kills:
            text = soak.report()
            print(text, flush=True)
            if args.markdown:
                write_file(args.markdown, text)
    wanted = len(soak.kills) // 5 if args.signals == ['KILL'] else 0
    if soak.in_writes < wanted:
        print(f'Only {soak.in_writes} kills fell inside a write, of {wanted} wanted.')
        return 1
    return 1 if soak.differences else 0


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.out is not None:
        return run(args)
    with tempfile.TemporaryDirectory(prefix='soak_') as folder:
        args.out = Path(folder)
        return run(args)


if __name__ == '__main__':
    sys.exit(main())
