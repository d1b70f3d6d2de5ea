"""Configs: reading one for a tool, and those that come with the package.

``_base_ = 'mmvideomac::videomac_cnxv2s_yt18.py'`` names a shipped one. mmengine resolves
``package::config`` for OpenMMLab's own packages alone, and refuses configs that lie in no
sub-folder.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from .errors import UserError

#: What the names of shipped configs begin with.
PREFIX = 'mmvideomac::'


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config and override its settings, as ``--cfg-options`` of a tool.

    Args:
        path: A ``.py``, ``.json`` or ``.yaml`` config.
        options: Dotted key -> value.

    Raises:
        UserError: naming the file and what is wrong with it or with an option.
    """
    if not Path(path).is_file():
        raise UserError(f'the config {path} does not exist')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code: it may raise anything
        reason = ' '.join(str(error).split())
        raise UserError(
            f'the config {path} cannot be read: {type(error).__name__}: {reason}'
        ) from error
    check_options(cfg, options or {})
    cfg.merge_from_dict(options or {})
    return cfg


def check_options(cfg: Config, options: dict) -> None:
    """Raise for a ``--cfg-options`` key that starts nowhere in the config.

    A misspelt top-level key would otherwise be set, and never read.

    Raises:
        UserError: naming the key and the nearest ones.
    """
    known = {*cfg, *inspect.signature(Runner).parameters}
    for key in options:
        first = key.split('.')[0]
        if first not in known:
            near = get_close_matches(first, known, n=1)
            hint = f': did you mean {near[0]}?' if near else '.'
            raise UserError(f'--cfg-options {key}: the config has no {first!r}{hint}')


def differences(old: object, new: object, key: str = '') -> dict[str, tuple]:
    """Dotted keys of settings that differ -> (old, new) value, None where there is none."""
    old, new = _by_key(old), _by_key(new)
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return {} if old == new else {key: (old, new)}
    found = {}
    for name in dict.fromkeys([*old, *new]):
        dotted = f'{key}.{name}' if key else str(name)
        found |= differences(old.get(name), new.get(name), dotted)
    return found


def _by_key(value: object) -> object:
    """A list of dicts as a dict; tuples of other things as lists, as files may have them."""
    if not isinstance(value, list | tuple):
        return value
    return dict(enumerate(value)) if any(isinstance(v, Mapping) for v in value) else list(value)


def config_folder() -> Path:
    """Where the configs lie: in the installed package, or in the repository beside it.

    Raises:
        FileNotFoundError: if the package was installed without them.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / '.mim', package.parent):
        if (root / 'model-index.yml').is_file():
            return root / 'configs'
    raise FileNotFoundError(f'{package} was installed without its configs: install it again')


def find_config(name: str) -> Path:
    """The file of a shipped config.

    Args:
        name: For example ``'mmvideomac::videomac_cnxv2s_yt18.py'``.

    Raises:
        FileNotFoundError: if there is none of that name.
    """
    folder, relative = config_folder(), name.removeprefix(PREFIX)
    path = folder / relative
    if not path.is_file():
        names = [file.relative_to(folder).as_posix() for file in folder.rglob('*.py')]
        close = [f'{PREFIX}{match}' for match in get_close_matches(relative, names)]
        advice = f'; do you mean {" or ".join(close)}?' if close else f', see {folder}'
        raise FileNotFoundError(f'mmvideomac has no config {relative!r}{advice}')
    return path


def find_projects() -> None:
    """Have ``custom_imports = dict(imports=['projects.siammae'])`` found from any folder.

    Projects lie beside the configs. Behind everything else on the path, since their folder
    holds more than them.
    """
    root = config_folder().parent
    if (root / 'projects').is_dir() and str(root) not in sys.path:
        sys.path.append(str(root))


def resolve_shipped_configs() -> None:
    """Have ``Config.fromfile`` find bases that are named ``mmvideomac::...``.

    They are inherited as if they lay in the project's own folder, with their
    ``default_scope``. mmengine would also write ``_scope_`` into every ``dict(type=...)``
    of such a base; that of ``collate_fn`` would end up among the arguments of
    ``default_collate``, which has none of that name.
    """
    resolve = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith(PREFIX):
            return str(find_config(cfg_path)), None
        return resolve(cfg_path, filename)

    Config._get_cfg_path = staticmethod(get_cfg_path)
