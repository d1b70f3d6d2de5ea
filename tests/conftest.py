"""What every test starts from, and tests that need an optional library."""

import cv2
import pytest
from mmengine.registry import DefaultScope

from tests.test_models.utils import needs_minkowski

# As mmengine sets it for training: once OpenCV has threads, a forked loader worker that
# touches them waits for ever.
cv2.setNumThreads(0)


@pytest.fixture(autouse=True)
def own_default_scope():
    """A Runner leaves its scope behind, in which names mean what they mean in its package."""
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, 'callspec') and item.callspec.params.get('backend') == 'minkowski':
            item.add_marker(needs_minkowski)
