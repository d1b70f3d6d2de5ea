"""Pictures of the same reconstructions throughout training."""

import numpy as np
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.evaluation.reconstruction import draw_predictions
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draws how a few fixed samples are reconstructed, before, during and after training.

    The samples are spread evenly over the dataset; their crops and masks never
    change, so pictures can be compared with each other, also between runs on the same
    data. They go to all backends of the visualizer as ``reconstruction`` (the
    local one writes ``vis_data/vis_image/reconstruction_<iterations>.png``).
    Training is not disturbed: no mode, gradient or random state changes.

    Args:
        interval (int): iterations between pictures. Defaults to 1000.
        num_samples (int): pairs in a picture. Defaults to 4.

    Raises:
        ValueError: if either is below 1.
    """

    #: Of the unwrapped model and samples a picture, uint8 RGB (height, width, 3): a method
    #: whose predictions are shown otherwise has a hook with another one.
    draw = staticmethod(draw_predictions)

    # After the update of the EMA target, before a checkpoint may end the run.
    priority = 'LOW'

    def __init__(self, interval: int = 1000, num_samples: int = 4) -> None:
        if interval < 1 or num_samples < 1:
            raise ValueError(f'{interval=} and {num_samples=} must be at least 1')
        self.interval = interval
        self.num_samples = num_samples

    @master_only
    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        places = (np.arange(self.num_samples) + 0.5) / self.num_samples
        # A plain index is the sample of seed 0 and epoch 0.
        self._samples = [dataset[int(place * len(dataset))] for place in places]
        if runner.iter == 0:
            self._draw(runner, 0)

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        if self.every_n_train_iters(runner, self.interval) and is_main_process():
            self._draw(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        if runner.iter % self.interval and is_main_process():
            self._draw(runner, runner.iter)

    def _draw(self, runner: Runner, step: int) -> None:
        image = self.draw(unwrap_model(runner.model), self._samples)
        runner.visualizer.add_image('reconstruction', image, step)
