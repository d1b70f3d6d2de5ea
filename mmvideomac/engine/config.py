"""Reading a config for a tool."""

from pathlib import Path

from mmengine.config import Config

from .launch import LaunchError, check_options


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config and override its settings, as ``--cfg-options`` of a tool.

    Args:
        path: A ``.py``, ``.json`` or ``.yaml`` config.
        options: Dotted key -> value.

    Raises:
        LaunchError: naming the file and what is wrong with it or with an option.
    """
    if not Path(path).is_file():
        raise LaunchError(f'the config {path} does not exist')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code: it may raise anything
        reason = ' '.join(str(error).split())
        raise LaunchError(
            f'the config {path} cannot be read: {type(error).__name__}: {reason}'
        ) from error
    check_options(cfg, options or {})
    cfg.merge_from_dict(options or {})
    return cfg
