"""What every test starts from, and tests that need an optional library."""

import os

import cv2
import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope

from tests.test_models.utils import needs_minkowski

# Asked for by runs that must repeat bit by bit, and read at the first product of the process.
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')

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


@pytest.fixture(params=['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def device(request):
    """Where a test computes: its twin on a GPU is one of the marker ``gpu``.

    There all is multiplied and summed in full precision, so that bounds from rounding hold, and
    what a run sets for its process ends with the test.
    """
    if request.param == 'cpu':
        yield request.param
        return
    from mmvideomac.ops import allow_tf32

    products = torch.backends.cuda.matmul
    products.allow_fp16_reduced_precision_reduction = False
    products.allow_bf16_reduced_precision_reduction = False
    allow_tf32(False)
    yield request.param
    allow_tf32(False)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = False


def pytest_collection_modifyitems(items):
    has_gpu = torch.cuda.is_available()
    for item in items:
        if not has_gpu and item.get_closest_marker('gpu'):
            item.add_marker(pytest.mark.skip(reason='needs a CUDA GPU'))
        if hasattr(item, 'callspec') and item.callspec.params.get('backend') == 'minkowski':
            item.add_marker(needs_minkowski)
