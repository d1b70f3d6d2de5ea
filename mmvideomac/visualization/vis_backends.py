"""mmengine's backends of experiment trackers, for names and folders as they are here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import mmengine.visualization as mmengine
import numpy as np
from mmengine.config import Config
from mmengine.visualization.vis_backend import force_init_env

from mmvideomac.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(mmengine.MLflowVisBackend):
    """mmengine's backend, with names that MLflow takes.

    MLflow refuses ``davis/J&F`` and ``jhmdb/PCK@0.1``, which become ``davis/J_F`` and
    ``jhmdb/PCK_0.1``, and pictures that are no files, which become
    ``reconstruction/00001000.png``: by name and iteration.

    Args:
        **kwargs: As in :class:`mmengine.visualization.MLflowVisBackend`.
    """

    def add_scalar(self, name: str, value: float, step: int = 0, **kwargs) -> None:
        """Record a number."""
        super().add_scalar(_mlflow_name(name), value, step, **kwargs)

    def add_scalars(
        self,
        scalar_dict: Mapping[str, float],
        step: int = 0,
        file_path: str | None = None,
        **kwargs,
    ) -> None:
        """Record numbers; ``file_path`` is for other backends."""
        renamed = {_mlflow_name(name): value for name, value in scalar_dict.items()}
        super().add_scalars(renamed, step, file_path, **kwargs)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        """Record a picture, uint8 RGB (height, width, 3)."""
        super().add_image(f'{_mlflow_name(name)}/{step:08}.png', image, step, **kwargs)


@VISBACKENDS.register_module()
class WandbVisBackend(mmengine.WandbVisBackend):
    """mmengine's backend, without the code.

    mmengine has W&B copy every Python file below the current folder, which may hold an
    environment and the runs; the config tells what was run.

    Args:
        **kwargs: As in :class:`mmengine.visualization.WandbVisBackend`.
    """

    @force_init_env
    def add_config(self, config: Config, **kwargs) -> None:
        """Record the config."""
        self._wandb.config.update(
            config.to_dict(), allow_val_change=self._init_kwargs.get('allow_val_change', False)
        )


def _mlflow_name(name: str) -> str:
    return re.sub(r'[^\w\-. :/]', '_', name, flags=re.ASCII)
