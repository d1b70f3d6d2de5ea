"""Loops: training that resumes anywhere, and a score of the encoder now and then."""

import time
import traceback

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.runner import EpochBasedTrainLoop, Runner, ValLoop
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from mmvideomac.datasets import VideoReadError, WatchedBatches
from mmvideomac.evaluation import LabelPropagation
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import LOOPS, MODELS
from mmvideomac.utils.logging import quiet

from .optim_steps import accumulated_iterations, count_schedules_in_optim_steps


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """Epoch based training whose position in the epoch survives a resume.

    mmengine's ``EpochBasedTrainLoop`` restarts a partly consumed epoch from its
    first batch, so that resuming from such a checkpoint repeats samples and shifts
    every later iteration. Here the position is a pure function of the global
    iteration, so any checkpoint will do, whether written at the end of an epoch or
    inside it. The sampler must have a method ``start_batch(consumed)``, as
    :class:`mmvideomac.datasets.EpochSampler` has; consumed samples are then
    never decoded again. Workers of the loader that hang end the training, see
    :class:`mmvideomac.datasets.WatchedBatches`.

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
        self._batches = WatchedBatches(self.dataloader)
        self._check_epoch_length()
        count_schedules_in_optim_steps(runner, len(self.dataloader))

    def run_epoch(self) -> None:
        """Run what is left of the current epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        consumed = self._iter - self._epoch * len(self.dataloader)
        if consumed:
            self._skip(consumed)
        for batch_idx, data_batch in enumerate(self._batches, start=consumed):
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
        accumulation = accumulated_iterations(self.runner)
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


@LOOPS.register_module()
class LabelPropagationProbeLoop(ValLoop):
    """Label propagation on a few clips, as the validation of a pre-training.

    The losses of masked modelling do not tell how good the features are; the score of
    a task does. Runs every ``train_cfg.val_interval`` epochs and at the end. Scores go
    where mmengine's go: to the log and all backends of the visualizer (TensorBoard:
    ``davis/J&F``) by epoch, and to ``save_best`` of the checkpoint hook. ``probe_time``
    is how long it took, in seconds.

    Training does not notice: a copy of the encoder is evaluated (its strides may be
    changed, see :class:`~mmvideomac.evaluation.features.FeatureExtractor`), off the
    accelerator in between, and the random state is left as it was. The pixels are
    normalised as in training, by ``model.data_preprocessor``.

    Processes share the clips. If a clip of any of them fails, for whatever reason, all
    give up the score of that epoch, with a warning, and training goes on. Hooks of single
    iterations are not called: their ``time`` would be taken for that of training.

    Args:
        runner: The runner. Its config names the encoder, ``model.backbone``.
        dataloader: Of labelled clips
            (:class:`~mmvideomac.datasets.labelled_clips.ClipDataset`), or its config.
        evaluator: Of the task's metric, or its config.
        stride_method: See ``LabelPropagation``; the default is the cheapest.
        **settings: Others of :class:`~mmvideomac.evaluation.LabelPropagation`: ``task``
            (default ``'davis'``), ``protocol`` (``'dino'``), ``stage`` (3), ``stride``
            (8), ``network`` (``'online'``), ...

    Raises:
        ValueError, OSError, VideoReadError: before training, if data or settings are at
            fault.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        stride_method: str = 'resample',
        **settings,
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.settings = settings
        cfg = runner.cfg.model
        pixels = cfg.get('data_preprocessor') or {}
        for name in ('mean', 'std'):
            if pixels.get(name) is not None:
                settings.setdefault(name, pixels[name])
        with torch.random.fork_rng(devices=[]):  # weights are drawn, on the CPU
            self.model = MODELS.build(
                dict(
                    type='LabelPropagation',
                    backbone=cfg.backbone,
                    stride_method=stride_method,
                    **settings,
                )
            )
        self.model.eval()
        self._copy_weights()
        clips = len(self.dataloader.dataset)
        runner.logger.info(f'Probe of {clips} clips: {self.model.description}')

    def run(self) -> dict[str, float]:
        """Score the encoder as it is now.

        Returns:
            Scores in percent by name and ``probe_time``; nothing if it failed.
        """
        runner, start = self.runner, time.monotonic()
        runner.call_hook('before_val')
        runner.call_hook('before_val_epoch')
        # On every process before any waits for the others.
        failures = [text for text in all_gather_object(self._process_clips()) if text]
        metrics = {}
        if failures:
            for metric in self.evaluator.metrics:
                metric.results.clear()
            runner.logger.warning(
                f'The probe after epoch {runner.epoch} failed: no score, training goes on. '
                + '\n'.join(failures)
            )
        else:
            metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
            metrics['probe_time'] = time.monotonic() - start
            runner.call_hook('after_val_epoch', metrics=metrics)
        runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def _process_clips(self) -> str | None:
        """Propagate and score the clips of this process; what went wrong, if anything."""
        try:
            with torch.random.fork_rng(devices=[]):  # a loader draws a seed
                self._copy_weights()
                self.model.to(get_device())
                for batch in self.dataloader:
                    self.evaluator.process(self.predict(self.model, batch), batch)
        except (ValueError, OSError, VideoReadError) as error:
            return str(error)
        except Exception:  # nothing here is worth days of training
            return traceback.format_exc()
        finally:
            self.model.cpu()
        return None

    def predict(self, model: LabelPropagation, batch: dict) -> list[DataSample]:
        """The samples of a batch with predictions."""
        return model.val_step(batch)

    def _copy_weights(self) -> None:
        self.model.load_state_dict(unwrap_model(self.runner.model).state_dict())


@LOOPS.register_module()
class CycleProbeLoop(LabelPropagationProbeLoop):
    """Points followed forward and back, as the validation of a pre-training without labels.

    The clips are those of :class:`~mmvideomac.datasets.cycle_clips.CycleClipDataset`, whose
    window moves, so that features which see nothing return no point. Before training the log
    tells what mere colours and the encoder as initialised score: learning is to get above them.
    All else is as in :class:`LabelPropagationProbeLoop`.

    Args:
        runner, dataloader, evaluator, stride_method, **settings: As there; the ``task`` is
            ``'points'``, and the default ``protocol`` ``'crw'``.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        protocol: str = 'crw',
        **settings,
    ) -> None:
        size = runner.cfg.val_dataloader.dataset.get('short_side', 224)
        settings = dict(settings, task='points', protocol=protocol, input_size=size)
        super().__init__(runner, dataloader, evaluator, **settings)
        scores = self._score_baselines()
        runner.logger.info(
            'Points that return: '
            + ', '.join(f'{value:.1f} % by {name}' for name, value in scores.items())
            + '. What is learnt shows in cycle/returned above both.'
        )

    def predict(self, model: LabelPropagation, batch: dict) -> list[DataSample]:
        """The samples with ``pred_points``, (2, J), where the points end."""
        for clip, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            *_, middle = model.follow_points(clip.there, sample.first_label)
            visible = middle.where(middle >= 0, torch.nan)
            *_, end = model.follow_points(clip.back, visible)
            sample.set_data(dict(pred_points=end))
        return batch['data_samples']

    @torch.no_grad()
    def _score_baselines(self) -> dict[str, float]:
        """Share of points that return, in percent."""
        stride = self.model.extractor.stride
        colors = dict(
            type='LabelPropagation',
            backbone=dict(type='MeanColor', stride=stride),
            **(self.settings | dict(stage=1, stride=stride, stride_method='native')),
        )
        scores = {}
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(self.runner.seed)
            models = {'colours': MODELS.build(colors), 'the encoder as initialised': self.model}
            self.model.init_weights()
            for name, model in models.items():
                model.to(get_device()).eval()
                for batch in self.dataloader:
                    self.evaluator.process(self.predict(model, batch), batch)
                model.cpu()
                scores[name] = self.evaluator.evaluate(len(self.dataloader.dataset))[
                    'cycle/returned'
                ]
            self._copy_weights()
        return scores
