import pytest
import torch
import torch.nn.functional as F

from mmvideomac.ops import linear


@pytest.mark.parametrize(
    'rows, width', [((2, 3, 4, 4), 8), ((5,), 128), ((2,), 128), ((1,), 20000)]
)
@pytest.mark.parametrize('bias', [True, False])
def test_equals_torch(rows, width, bias):
    torch.manual_seed(0)
    x = torch.randn(*rows, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(160, width, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(160, dtype=torch.float64, requires_grad=True) if bias else None
    leaves = [leaf for leaf in (x, weight, offset) if leaf is not None]
    y, expected = linear(x, weight, offset), F.linear(x, weight, offset)
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(y)
    torch.testing.assert_close(
        torch.autograd.grad(y, leaves, upstream), torch.autograd.grad(expected, leaves, upstream)
    )


def test_autocast_keeps_gradients_in_float32():
    x, weight = torch.randn(4, 8), torch.randn(6, 8, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        y = linear(x, weight)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert weight.grad.dtype == torch.float32
