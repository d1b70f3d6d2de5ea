"""What every test starts from, and tests that need an optional library."""

import cv2
import pytest
from hypothesis import settings
from mmengine.registry import DefaultScope

from tests.test_models.utils import needs_minkowski

# As mmengine sets it for training: once OpenCV has threads, a forked loader worker that
# touches them waits for ever.
cv2.setNumThreads(0)

# The same cases every time; many more by --hypothesis-profile=thousands --hypothesis-seed=N.
settings.register_profile('quick', max_examples=30, derandomize=True, deadline=None)
settings.register_profile('thousands', max_examples=1000, deadline=None)
settings.load_profile('quick')


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
