import pytest


@pytest.fixture(autouse=True)
def quick_runner(monkeypatch):
    """Runner reports the environment through compilers it starts: half a second each time."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
