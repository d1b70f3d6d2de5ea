"""tools/misc/config_reference.py: the page tells of every component and every setting."""

import inspect
import re

import pytest

from tests.test_tools.tools import load_tool

TOOL = load_tool('misc/config_reference')
PAGE = TOOL.PAGE.read_text()


def section(name):
    return PAGE.split(f'\n### {name}\n')[1].split('\n## ')[0].split('\n### ')[0]


def test_the_page_is_up_to_date():
    assert TOOL.page() == PAGE, 'run python tools/misc/config_reference.py'


@pytest.mark.parametrize('name', TOOL.components())
def test_component(name):
    """Independent of how the tool reads signatures."""
    kind = TOOL.components()[name]
    text = section(name)
    if not getattr(kind.__init__, '__module__', '').startswith('mmvideomac.'):
        return  # nothing to set, or what another package explains
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.name in TOOL.GIVEN or parameter.kind == parameter.VAR_POSITIONAL:
            assert f'`{parameter.name}`' not in text
        elif parameter.kind == parameter.VAR_KEYWORD:
            assert f'| {TOOL.OTHERS} |' in text
        else:
            default = repr(parameter.default)
            default = 'required' if parameter.default is parameter.empty else f'`{default}`'
            assert f'\n| `{parameter.name}` | {default} |' in text


class Parent:
    """Not of this package's modules, but read as if it were.

    Args:
        size (int): In pixels.
        **kwargs: Of the parent's parent.
    """

    def __init__(self, size: int = 3, **kwargs) -> None:
        pass


class Child(Parent):
    """A component with :class:`~mmvideomac.a.b.Thing`.

    Args:
        *args: Positional.
        a, b (tuple[int, int], optional): ``1`` or
            more. Defaults to None.
        **kwargs: See :class:`Parent`.

    Raises:
        ValueError: never: it has none.
    """

    def __init__(self, *args, a=None, b: int | str = 'x', **kwargs) -> None:
        super().__init__(**kwargs)


def test_settings(monkeypatch):
    monkeypatch.setattr(Parent, '__module__', 'mmvideomac.parent')
    monkeypatch.setattr(Child, '__module__', 'mmvideomac.models.heads.child')
    assert TOOL.settings(Child) == {
        'a': ('`None`', '`1` or more.'),
        'b': ("`'x'`", '`1` or more. Defaults to None.'),
        'size': ('`3`', 'In pixels.'),
        'others': ('', "Of the parent's parent."),
    }
    monkeypatch.setattr(TOOL, 'components', lambda: dict(Child=Child))
    entry = TOOL.reference().split('### Child\n\n')[1]
    assert entry.startswith('A component with `Thing`. (`mmvideomac/models/heads/child.py`)\n')
    monkeypatch.setattr(Child, '__module__', 'mmvideomac.elsewhere')
    with pytest.raises(ValueError, match=r'Child .elsewhere. belongs under no heading'):
        TOOL.reference()


def test_what_is_written_by_hand_is_kept(tmp_path, monkeypatch, capsys):
    page = tmp_path / 'page.md'
    monkeypatch.setattr(TOOL, 'PAGE', page)
    page.write_text(f'# By hand\n\n{TOOL.MARK}old')
    TOOL.main([])
    assert page.read_text() == f'# By hand\n\n{TOOL.MARK}{TOOL.reference()}'
    page.write_text('# By hand\n')
    assert TOOL.main([]) == 1
    assert re.search(r'config_reference.py: .* has lost the line', capsys.readouterr().err)
    assert page.read_text() == '# By hand\n'
