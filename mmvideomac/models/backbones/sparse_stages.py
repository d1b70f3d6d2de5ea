"""Encoders that are a sequence of stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from ..sparse import BACKENDS, PatchLayout, sparse_forward
from .sparse_encoder import check_choice, visible_patches


class SparseStages:
    """Mixin: a backbone of mmpretrain computes on visible patches when it is given a mask.

    Put it before the backbone class. Without a mask the encoder *is* that backbone,
    key by key and value by value.

    Args:
        *args, **kwargs: as for the backbone.
        sparse_backend (str): how spatial operators run on visible patches, a name
            of :data:`~mmvideomac.models.sparse.BACKENDS`.

    Raises:
        ValueError: for an unknown backend.
    """

    #: Input pixels per site of the last stage; a mask patch is a multiple of it.
    stride: int
    out_indices: Sequence[int]

    def __init__(self, *args, sparse_backend: str = 'native', **kwargs) -> None:
        check_choice('sparse_backend', sparse_backend, BACKENDS)
        super().__init__(*args, **kwargs)
        self.sparse_backend = sparse_backend

    def sparse_stages(self) -> Iterable[Sequence[nn.Module]]:
        """The layers of every stage that ``out_indices`` counts, in order."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> SparseStages:
        super().train(mode)
        return self  # which several of mmpretrain's backbones forget, and with it eval()

    def forward(self, x: Tensor, mask: Tensor | PatchLayout | None = None) -> tuple[Tensor, ...]:
        """Encode images, or the visible patches of them.

        Args:
            x (Tensor): (B, 3, H, W), normalised.
            mask (Tensor | PatchLayout | None): bool (B, gh, gw), True = masked;
                H / gh = W / gw pixels per patch, a multiple of :attr:`stride`.
                A :class:`PatchLayout` saves building the index maps again.

        Returns:
            tuple[Tensor]: for each of ``out_indices`` the output of that stage,
            (B, C, H / r, W / r), zero at masked sites.

        Raises:
            ValueError: if the mask does not fit the input or the stride.
            TypeError: for a layer with no implementation on visible patches.
        """
        if mask is None:
            return super().forward(x)
        y = visible_patches(x, mask, self.stride, self.sparse_backend)
        outs = []
        for i, layers in enumerate(self.sparse_stages()):
            for layer in layers:
                y = sparse_forward(layer, y)
            if i in self.out_indices:
                outs.append(y.to_dense())
        return tuple(outs)
