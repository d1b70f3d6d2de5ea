import pytest

from mmvideomac.datasets.preparation import download

from .server import Server


@pytest.fixture
def server(monkeypatch):
    """A web server on this machine, asked without pauses between attempts."""
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.setattr(download, '_PAUSE', 0)
    with Server() as server:
        yield server
