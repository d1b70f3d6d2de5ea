"""mmengine's backends of experiment trackers, for names and folders as they are here."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping

import mmengine.visualization as mmengine
import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.visualization.vis_backend import force_init_env

from mmvideomac.registry import VISBACKENDS
from mmvideomac.utils.files import check_writable

#: Seconds between two warnings that nothing can be written.
_PAUSE = 60.0


class _OutlastsOutages:
    """Mixin of backends that write files: what cannot be written is lost, the run is not."""

    _warned_at = -_PAUSE

    def add_config(self, *args, **kwargs) -> None:
        """As mmengine's."""
        self._outlast(super().add_config, *args, **kwargs)

    def add_image(self, *args, **kwargs) -> None:
        """As mmengine's."""
        self._outlast(super().add_image, *args, **kwargs)

    def add_scalar(self, *args, **kwargs) -> None:
        """As mmengine's."""
        self._outlast(super().add_scalar, *args, **kwargs)

    def add_scalars(self, *args, **kwargs) -> None:
        """As mmengine's."""
        self._outlast(super().add_scalars, *args, **kwargs)

    def close(self) -> None:
        """As mmengine's."""
        self._outlast(super().close)

    def _outlast(self, write: Callable, *args, **kwargs) -> None:
        try:
            write(*args, **kwargs)
        except OSError as error:
            if time.monotonic() - self._warned_at >= _PAUSE:
                self._warned_at = time.monotonic()
                print_log(
                    f'{type(self).__name__} cannot write to {self._save_dir}: {error}. Values and '
                    'pictures are lost until it can; training goes on.',
                    'current',
                    logging.WARNING,
                )


@VISBACKENDS.register_module()
class LocalVisBackend(_OutlastsOutages, mmengine.LocalVisBackend):
    """mmengine's backend, which a full disk does not stop.

    Args:
        save_dir, **kwargs: As in :class:`mmengine.visualization.LocalVisBackend`.
    """


@VISBACKENDS.register_module()
class TensorboardVisBackend(_OutlastsOutages, mmengine.TensorboardVisBackend):
    """mmengine's backend, which a full disk does not stop.

    After a failure TensorBoard's writer is of no more use, and the tail of its file none to
    readers: a new file is begun when the folder can be written to again.

    Args:
        save_dir: As in :class:`mmengine.visualization.TensorboardVisBackend`.
    """

    _failed = False

    def _outlast(self, write: Callable, *args, **kwargs) -> None:
        super()._outlast(self._write, write, *args, **kwargs)

    def _write(self, write: Callable, *args, **kwargs) -> None:
        if self._failed:
            check_writable(self._save_dir)
            self._init_env()
            self._failed = False
        try:
            write(*args, **kwargs)
        except OSError:
            self._failed = True
            raise


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
