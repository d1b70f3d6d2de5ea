"""What a backend of the sparse engine provides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from ..patches import VisiblePatches


class Backend(ABC):
    """The spatial operators on visible patches.

    Masked sites count as zero for a convolution, do not exist for a pooling, and
    stay empty: submanifold operators (Graham et al., "3D Semantic Segmentation
    with Submanifold Sparse Convolutional Networks", CVPR 2018). Everything that
    is not spatial is shared by all backends, see
    :mod:`~mmvideomac.models.sparse.layers`.
    """

    @abstractmethod
    def conv2d(
        self,
        x: VisiblePatches,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        groups: int,
    ) -> VisiblePatches:
        """Convolution with dilation 1 and zero padding.

        Args:
            x (VisiblePatches): features (B, K, s, s, C_in).
            weight (Tensor): (C_out, C_in / groups, k, k), as in ``nn.Conv2d``.
            bias (Tensor | None): (C_out,).
            stride, padding (tuple[int, int]): as in ``nn.Conv2d``.
            groups (int): as in ``nn.Conv2d``.

        Returns:
            VisiblePatches: features (B, K, s / stride, s / stride, C_out).
        """

    @abstractmethod
    def max_pool2d(
        self, x: VisiblePatches, kernel_size: int, stride: int, padding: int
    ) -> VisiblePatches:
        """Maximum over the visible sites of each window.

        Args:
            x (VisiblePatches): features (B, K, s, s, C).
            kernel_size, stride, padding (int): as in ``nn.MaxPool2d``.

        Returns:
            VisiblePatches: features (B, K, s / stride, s / stride, C).
        """


#: Name -> backend. ``masked`` is the reference the others are tested against.
BACKENDS: dict[str, Backend] = {}


def register_backend(name: str) -> Callable[[type[Backend]], type[Backend]]:
    """Class decorator that makes a backend available as ``sparse_backend=name``."""

    def register(backend: type[Backend]) -> type[Backend]:
        BACKENDS[name] = backend()
        return backend

    return register
