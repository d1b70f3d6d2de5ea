"""Tests over all backends skip the one that needs an optional library."""

from tests.test_models.utils import needs_minkowski


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, 'callspec') and item.callspec.params.get('backend') == 'minkowski':
            item.add_marker(needs_minkowski)
