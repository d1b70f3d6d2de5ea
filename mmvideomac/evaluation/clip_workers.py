"""Clips of several encoders and tasks, spread over processes."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from threading import Thread

import cv2
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed

from mmvideomac.datasets.labelled_clips import ClipDataset
from mmvideomac.registry import METRICS, MODELS
from mmvideomac.utils.errors import REPORTED_ERRORS, UserError
from mmvideomac.utils.logging import quiet
from mmvideomac.utils.progress import progress

from .benchmark import load_weights
from .clip_scores import ClipScores
from .label_propagation import LabelPropagation

#: Besides what is reported, what a single clip may trip over: torch, out of memory.
_CLIP_ERRORS = (*REPORTED_ERRORS, RuntimeError)

#: Seconds in which some process does a frame; the longest is to load or download an encoder.
_STANDSTILL = 1800.0

Scores = dict[str, np.ndarray]


def build_model(settings: ConfigDict, weights: str, seed: int | None) -> LabelPropagation:
    """An encoder on a task, on the CPU, ready to evaluate.

    Args:
        settings: Of :class:`LabelPropagation`.
        weights: See :func:`~mmvideomac.evaluation.benchmark.load_weights`.
        seed: Of the initialisation.

    Raises:
        UserError, ValueError, OSError: if the encoder or its weights are at fault.
    """
    with DefaultScope.overwrite_default_scope('mmvideomac'), quiet():
        if seed is not None:
            set_random_seed(seed)
        model = MODELS.build(settings)
        load_weights(model, weights)
    return model.eval()


@dataclass(frozen=True)
class EncoderOnTask:
    """What a process has to know of an encoder on a task.

    Attributes:
        task: Key of the data set.
        model, weights, seed: See :func:`build_model`.
        modules: That register what ``model`` names.
        evaluator: Settings of the metric.
        scores: Where those of the clips are kept.
    """

    task: str
    model: ConfigDict
    weights: str
    seed: int | None
    modules: frozenset[str]
    evaluator: ConfigDict
    scores: ClipScores


@dataclass(frozen=True)
class ClipJob:
    """A clip to go through.

    Attributes:
        entry: Number of the :class:`EncoderOnTask`.
        index: Of the clip in its data set.
        sequence: Its name.
        length: Frames.
        signature: See :func:`~mmvideomac.evaluation.clip_scores.clip_signature`.
    """

    entry: int
    index: int
    sequence: str
    length: int
    signature: str


def default_jobs() -> int:
    """A process for each GPU, or for two threads of the CPU."""
    return torch.cuda.device_count() or max(1, torch.get_num_threads() // 2)


def run_clips(
    entries: Sequence[EncoderOnTask],
    datasets: Mapping[str, ClipDataset],
    clips: Sequence[ClipJob],
    jobs: int = 1,
) -> Iterator[tuple[ClipJob, Scores | str]]:
    """Go through clips, keep their predictions and scores, and show the progress.

    A process keeps one model at a time: clips are best given encoder by encoder.
    Scores do not depend on the number of processes. They do, by rounding, on the number of
    threads of each, which is what this process has divided by ``jobs``, and on the device.

    Args:
        entries: Encoders on tasks.
        datasets: By task.
        clips: In the order in which they are begun.
        jobs: Processes; with 1 it is this one. GPUs are given to them in turn.

    Yields:
        Every clip when it is done, in any order, with its scores or with what stopped it.

    Raises:
        UserError: if a process was killed, or none has done a frame for half an hour; what
            was done is kept.
    """
    if jobs == 1 or len(clips) < 2:
        worker, done = _Worker(entries, datasets, get_device()), 0
        with _bar(clips) as bar:
            for clip in clips:
                yield clip, worker.run(clip, lambda *_: bar.update())
                done += clip.length
                _show(bar, done)  # of a clip that failed not all frames were seen
        return
    jobs = min(jobs, len(clips))
    gpus = torch.cuda.device_count()
    context = get_context('spawn')  # threads and CUDA do not survive a fork
    devices = context.SimpleQueue()
    for number in range(jobs):
        devices.put(f'cuda:{number % gpus}' if gpus else get_device())
    frames = context.RawArray('l', len(clips))  # seen of each; no lock, since each has one writer
    # The processes end at once when this end is closed, as it also is when this one dies.
    reader, writer = context.Pipe(duplex=False)
    threads = max(1, torch.get_num_threads() // jobs)
    arguments = (entries, datasets, devices, threads, frames, reader)
    with _bar(clips) as bar, ProcessPoolExecutor(jobs, context, _start, arguments) as pool:
        try:
            pending = {pool.submit(_run, *job): job for job in enumerate(clips)}
            seen, progressed = 0, time.monotonic()
            while pending:
                done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    number, clip = pending.pop(future)
                    frames[number] = clip.length  # also of one that failed midway
                    yield clip, future.result()
                _show(bar, sum(frames))
                if sum(frames) != seen:
                    seen, progressed = sum(frames), time.monotonic()
                elif time.monotonic() - progressed > _STANDSTILL:
                    hung = [clip.sequence for job, (_, clip) in pending.items() if job.running()]
                    raise UserError(
                        f'no frame was done for {_STANDSTILL:g} s. Under way: {", ".join(hung)}. '
                        'Check that their files can be read. What was done is kept.'
                    )
        except BrokenProcessPool:
            raise UserError(
                'a process was killed, most likely for want of memory: choose fewer --jobs. What '
                'was done is kept.'
            ) from None
        except BaseException:  # Ctrl-C above all; its processes may hang
            writer.close()
            raise


class _Worker:
    """What a process does with its clips."""

    def __init__(
        self, entries: Sequence[EncoderOnTask], datasets: Mapping[str, ClipDataset], device: str
    ) -> None:
        self.entries, self.datasets, self.device = entries, datasets, device
        self._built: tuple[int, LabelPropagation] | None = None

    def run(self, clip: ClipJob, on_frame) -> Scores | str:
        """Scores of a clip, or what stopped it."""
        entry = self.entries[clip.entry]
        try:
            model = self._model(clip.entry)
            model.on_frame = on_frame
            item = self.datasets[entry.task][clip.index]
            (sample,) = model.test_step({key: [value] for key, value in item.items()})
            with DefaultScope.overwrite_default_scope('mmvideomac'), quiet():
                metric = METRICS.build(entry.evaluator)
                metric.process(None, [sample.to_dict()])
            ((_, scores),) = metric.results
            entry.scores.write(clip.sequence, clip.signature, scores)
        except _CLIP_ERRORS as error:
            return ' '.join(str(error).split())
        return scores

    def _model(self, number: int) -> LabelPropagation:
        if self._built is None or self._built[0] != number:
            self._built = None  # before there is another
            entry = self.entries[number]
            for module in entry.modules:
                importlib.import_module(module)
            model = build_model(entry.model, entry.weights, entry.seed)
            self._built = number, model.to(self.device)
        return self._built[1]


def _start(
    entries: Sequence[EncoderOnTask],
    datasets: Mapping[str, ClipDataset],
    devices: SimpleQueue,
    threads: int,
    frames: Sequence[int],
    parent: Connection,
) -> None:
    """Make this process ready for :func:`_run`."""
    global _worker, _frames
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent ends this process
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    device = devices.get()
    if device.startswith('cuda'):
        torch.cuda.set_device(device)
    _worker, _frames = _Worker(entries, datasets, device), frames


def _end_with(parent: Connection) -> None:
    parent.poll(None)
    os._exit(1)


def _run(number: int, clip: ClipJob) -> Scores | str:
    return _worker.run(clip, partial(_count, number))


def _count(number: int, _sequence: str, frame: int, _length: int) -> None:
    _frames[number] = frame


def _bar(clips: Sequence[ClipJob]):
    return progress(total=sum(clip.length for clip in clips), what='clips', unit='frame')


def _show(bar, frames: int) -> None:
    bar.update(frames - bar.n)
