import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmvideomac.models.sparse import PatchLayout
from mmvideomac.ops import window_conv
from tests.test_models.utils import random_mask


class Accumulators(TorchDispatchMode):
    """Records what type ``index_add_`` adds in: some devices take it at its word."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.index_add_.default:
            self.dtypes.append(args[0].dtype)
        return function(*args, **kwargs or {})


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('stride', [1, 2])
def test_input_gradient_of_windows_is_summed_in_single_precision(dtype, stride, device):
    layout = PatchLayout(random_mask(4, (5, 5), 20)).to(device)
    features = torch.zeros(4, 20, 4, 4, 1, device=device, requires_grad=True)
    weight, windows = torch.ones(1, 1, 3, 3, device=device), layout.windows(4, 3, stride, 1)
    with torch.autocast(device, dtype):
        y = window_conv(features, weight, None, windows, stride)
    assert y.dtype == dtype
    grad = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    with Accumulators() as accumulators:
        y.backward(grad)
    assert accumulators.dtypes == [torch.float32]
    # The terms are values of grad, exact: only the sum of up to nine is rounded, once.
    terms = grad.double().flatten().repeat_interleave(9)
    exact = torch.zeros(features.numel() + 1, dtype=torch.float64, device=device)
    exact = exact.index_add(0, windows, terms)[:-1].view_as(features)
    error = (features.grad.double() - exact).abs()
    assert (error <= 0.5001 * torch.finfo(dtype).eps * exact).all()
