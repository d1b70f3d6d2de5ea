import pytest
from mmengine.logging import MMLogger


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    """A video index of the test's own."""
    folder = tmp_path / 'index-cache'
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(folder))
    return folder


@pytest.fixture
def warned(caplog):
    """The warnings logged so far, as a list of texts."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [r.getMessage() for r in caplog.records if r.levelname == 'WARNING']
    logger.removeHandler(caplog.handler)
