"""Renew the reference of all components in docs/config_reference.md.

python tools/misc/config_reference.py

It is made of their docstrings and signatures. What stands above the mark in the page is
written by hand, and kept.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mmvideomac import registry
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.files import write_file

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'config_reference.md'
MARK = '<!-- What follows is made by tools/misc/config_reference.py -->\n'

#: Heading -> what the modules of its components begin with, below ``mmvideomac``.
HEADINGS = {
    'Method': ('models.pretrainers',),
    'Encoders': ('models.backbones', 'evaluation.library_encoders'),
    'Decoder': ('models.heads',),
    'Masks': ('models.maskers',),
    'Losses': ('models.losses',),
    'Label propagation': ('evaluation.label_propagation',),
    'Layers and initialisation': ('ops', 'models.sparse', 'models.initializers'),
    'Videos': ('datasets.frame_pair_dataset', 'datasets.cycle_clips', 'datasets.video_readers'),
    'Sampling': ('datasets.pair_sampling', 'datasets.samplers'),
    'Transforms': ('datasets.transforms',),
    'Labelled data': ('datasets.labelled_clips', 'datasets.image_folder'),
    'Hooks': ('engine.hooks', 'engine.optim_steps'),
    'Loops': ('engine.loops', 'evaluation.clip_loop'),
    'Optimiser': ('engine.optim_wrapper',),
    'Metrics': ('evaluation.metrics',),
    'Experiment trackers': ('visualization.vis_backends',),
}
#: What the Runner gives to a loop or a sampler, and positional arguments.
GIVEN = {'runner', 'dataloader', 'evaluator', 'dataset', 'args'}
#: Stands for the keyword arguments that are passed on.
OTHERS = 'others'

_ARGS = re.compile(r'^Args:\n(.*?)(?=^\S|\Z)', re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r'^    (\S.*?): (.*?)(?=^    \S|\Z)', re.MULTILINE | re.DOTALL)
_ROLE = re.compile(r':\w+:`~?(?:[\w.]*\.)?(\w+)`')


def components() -> dict[str, type]:
    """Name in a config -> class, of all that this package registers."""
    return {
        name: kind
        for key in registry.__all__
        for name, kind in getattr(registry, key).module_dict.items()
        if kind.__module__.startswith('mmvideomac.')
    }


def settings(kind: type) -> dict[str, tuple[str, str]]:
    """Setting -> (default, meaning), both Markdown, of a component.

    Those that its docstring has, and those of signatures of ours that it leaves out, with
    what a parent says of them. Others come last, under :data:`OTHERS`; those of classes
    of other packages are theirs to explain.
    """
    meanings, defaults, names = {}, {}, [*_documented(kind)]
    built_by = next(parent for parent in kind.__mro__ if '__init__' in vars(parent))
    for parent in kind.__mro__:
        ours = parent.__module__.startswith('mmvideomac.')
        if ours:
            for name, meaning in _documented(parent).items():
                if meanings.get(name, 'See `').startswith('See `'):
                    meanings[name] = meaning
        if '__init__' in vars(parent):
            for parameter in list(inspect.signature(parent.__init__).parameters.values())[1:]:
                defaults.setdefault(parameter.name, _default(parameter))
                if ours and (parent is built_by or parameter.kind != parameter.VAR_KEYWORD):
                    names.append(parameter.name)
    names = [name for name in dict.fromkeys(names) if name not in GIVEN]
    names.sort(key=lambda name: defaults.get(name) == OTHERS)
    return {
        OTHERS if defaults.get(name) == OTHERS else name: (
            defaults.get(name, '').replace(OTHERS, ''),
            _without_default(meanings.get(name, ''), defaults.get(name, '')),
        )
        for name in names
    }


def _without_default(meaning: str, default: str) -> str:
    return meaning.removesuffix(f'Defaults to {default.strip("`")}.').rstrip()


def _documented(kind: type) -> dict[str, str]:
    section = _ARGS.search(inspect.cleandoc(vars(kind).get('__doc__') or ''))
    return {
        name.strip(' *'): markdown(text)
        for names, text in _ENTRY.findall(section[1] if section else '')
        for name in re.sub(r'\(.*?\)', '', names).split(',')
    }


def _default(parameter: inspect.Parameter) -> str:
    if parameter.kind == parameter.VAR_KEYWORD:
        return OTHERS
    if parameter.default is parameter.empty:
        return 'required'
    return f'`{parameter.default!r}`'


def markdown(text: str) -> str:
    """One line of Markdown of our docstrings' reStructuredText."""
    return ' '.join(_ROLE.sub(r'`\1`', text).replace('``', '`').replace('|', '\\|').split())


def reference() -> str:
    """The part of the page below the mark.

    Raises:
        ValueError: for a component that belongs under no heading.
    """
    parts = {heading: [] for heading in HEADINGS}
    for name, kind in components().items():
        module = kind.__module__.removeprefix('mmvideomac.')
        heading = next((h for h, starts in HEADINGS.items() if module.startswith(starts)), None)
        if heading is None:
            raise ValueError(f'{name} ({module}) belongs under no heading: add one to HEADINGS')
        parts[heading].append(_entry(name, kind))
    return ''.join(f'\n## {heading}\n{"".join(entries)}' for heading, entries in parts.items())


def _entry(name: str, kind: type) -> str:
    summary = markdown(inspect.getdoc(kind).split('\n\n')[0])
    text = f'\n### {name}\n\n{summary} (`{kind.__module__.replace(".", "/")}.py`)\n'
    if rows := settings(kind):
        text += '\n| Setting | Default | Meaning |\n|---|---|---|\n'
    for setting, (default, meaning) in rows.items():
        setting = setting if setting == OTHERS else f'`{setting}`'
        text += f'| {setting} | {default} | {meaning} |\n'
    return text


def page() -> str:
    """The page as it should be.

    Raises:
        OSError: if it is not there.
        ValueError: if it has no mark, or a component has no place in it.
    """
    head, mark, _ = PAGE.read_text(encoding='utf-8').partition(MARK)
    if not mark:
        raise ValueError(f'{PAGE} has lost the line {MARK.strip()!r}')
    return head + mark + reference()


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    write_file(PAGE, page())
    print(PAGE)


if __name__ == '__main__':
    sys.exit(main())
