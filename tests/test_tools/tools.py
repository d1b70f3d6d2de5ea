"""Tools as modules, and what they say when they fail."""

import importlib.util
from types import ModuleType

from tests.test_engine.tiny import REPOSITORY


def load_tool(name: str) -> ModuleType:
    """``tools/<name>.py`` as a module."""
    path = REPOSITORY / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def failure(capsys, name: str, *args: object) -> str:
    """The message with which a tool fails on these arguments: one line, the last on stderr."""
    capsys.readouterr()
    assert load_tool(name).main([str(arg) for arg in args]) == 1
    message = capsys.readouterr().err.rstrip('\n').rsplit(f'tools/{name}.py: ', 1)
    assert len(message) == 2, message
    return message[1]
