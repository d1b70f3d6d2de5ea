import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmvideomac.ops import LIBRARIES, linear, product_library, use_products

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHAPES = [((2, 3, 4, 4), 8), ((5,), 128), ((2,), 128), ((700,), 16)]


def tensors(
    rows: tuple[int, ...], width: int, bias: bool, dtype: torch.dtype, device: str = 'cpu'
) -> list:
    """x, weight, bias and the output's gradient, exact in every dtype that is compared."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(*rows, width), (160, width), (160,), (*rows, 160)]
    values = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    if not bias:
        values[2] = None
    return values


def outcome(function, x, weight, bias, grad) -> list[torch.Tensor]:
    leaves = [leaf.clone().requires_grad_() for leaf in (x, weight, bias) if leaf is not None]
    y = function(*leaves)
    return [y, *torch.autograd.grad(y, leaves, grad)]


@pytest.mark.parametrize('library', LIBRARIES)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize(('rows', 'width'), SHAPES, ids=str)
@pytest.mark.parametrize('bias', [True, False])
def test_errors_are_those_of_rounding(library, dtype, rows, width, bias, device):
    values = tensors(rows, width, bias, dtype, device)
    with use_products(library):
        ours = outcome(linear, *values)
    double = [None if value is None else value.double() for value in values]
    exact = outcome(F.linear, *double)
    # A sum of n terms in any order is off by at most n roundings of the sum of their sizes;
    # half precision is summed in single, and rounded once at the end.
    sizes = outcome(F.linear, *[None if v is None else v.abs() for v in double])
    count = torch.Size(rows).numel()
    terms = [width + 1, 160, count, count][: len(ours)]
    accumulator = torch.promote_types(dtype, torch.float32)
    for value, expected, size, n in zip(ours, exact, sizes, terms, strict=True):
        bound = (n + 1) * torch.finfo(accumulator).eps * size
        bound += torch.finfo(dtype).eps * (expected.abs() + torch.finfo(dtype).tiny)
        assert value.dtype == dtype
        assert ((value.double() - expected).abs() <= bound).all()


def test_autocast_keeps_gradients_in_float32(device):
    x = torch.randn(4, 8, device=device)
    weight = torch.randn(6, 8, device=device, requires_grad=True)
    with torch.autocast(device, torch.bfloat16):
        y = linear(x, weight)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert weight.grad.dtype == torch.float32


class Operators(TorchDispatchMode):
    """Records what runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


def test_each_library_is_the_one_that_runs():
    products = {'addmm', 'mm', 'convolution', 'convolution_backward'}
    ran = {}
    for library in LIBRARIES:
        with use_products(library), Operators() as operators:
            outcome(linear, *tensors((700,), 16, True, torch.float32))
        ran[library] = operators.names & products
    assert ran == dict(blas={'addmm', 'mm'}, onednn={'convolution', 'convolution_backward'})


def test_the_choice_ends_with_its_context_and_unknown_names_are_refused():
    before = product_library()
    with use_products('blas'):
        assert 'blas' in product_library()
    assert product_library() == before
    with pytest.raises(ValueError, match=r"'fast'; choose from blas, onednn"), use_products('fast'):
        pass


@pytest.mark.parametrize('library', LIBRARIES)
def test_environment_variable(library):
    code = 'from mmvideomac.ops.products import product_library; print(product_library())'
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env={**os.environ, 'MMVIDEOMAC_PRODUCTS': library},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f' {library} ' in run.stdout


@pytest.mark.parametrize(
    ('vendor', 'library'), [('AuthenticAMD', 'onednn'), ('GenuineIntel', 'blas'), (None, 'blas')]
)
def test_rule(monkeypatch, vendor, library):
    from mmvideomac.ops import processor, products

    monkeypatch.delenv('MMVIDEOMAC_PRODUCTS', raising=False)
    monkeypatch.setattr(processor, '_field', lambda *_: [vendor] if vendor else [])
    assert products._choose()[0] == library
