"""What all sparse encoders are: backbones that are a sequence of stages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from torch import Tensor, nn

from ..sparse import BACKENDS, PatchLayout, VisiblePatches, sparse_forward


def check_choice(argument: str, value: str | int, choices: Collection) -> None:
    """Raise a ValueError if ``value`` is none of ``choices``."""
    if value not in choices:
        raise ValueError(f'unknown {argument}={value!r}; choose from {sorted(choices)}')


class SparseStages:
    """Mixin: a backbone of mmpretrain computes on visible patches when it is given a mask.

    Put it before the backbone class. Without a mask the encoder *is* that backbone,
    key by key and value by value.

    Args:
        *args, **kwargs: as for the backbone.
        sparse_backend (str): how spatial operators run on visible patches:
            ``'native'``, the dense reference ``'masked'``, ``'minkowski'``
            (MinkowskiEngine, CPU; ``tools/install_minkowski.sh``), or another name
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
        self.register_load_state_dict_pre_hook(_take_own_part)

    def sparse_stages(self) -> Iterable[Sequence[nn.Module]]:
        """The layers of every stage that ``out_indices`` counts, in order."""
        raise NotImplementedError

    def stage_output(self, stage: int, x: VisiblePatches) -> Tensor:
        """What the encoder returns of a stage, given what its last layer returned."""
        return x.to_dense()

    def train(self, mode: bool = True) -> SparseStages:
        super().train(mode)
        return self  # which several of mmpretrain's backbones forget, and with it eval()

    def forward(self, x: Tensor, mask: Tensor | PatchLayout | None = None) -> tuple[Tensor, ...]:
        """Encode images, or the visible patches of them.

        Args:
            x (Tensor): (B, 3, H, W), normalised.
            mask (Tensor | PatchLayout | None): bool (B, gh, gw), True = masked;
                H / gh = W / gw pixels per patch, a multiple of :attr:`stride`.
                A :class:`PatchLayout` saves making the index maps again.

        Returns:
            tuple[Tensor]: for each of ``out_indices`` the output of that stage,
            (B, C, H / r, W / r), zero at masked sites.

        Raises:
            ValueError: if the mask does not fit the input or the stride.
            TypeError: for a layer with no implementation on visible patches.
        """
        if mask is None:
            return self.dense_forward(x)
        return self.run_stages(self._visible_patches(x, mask), sparse_forward)

    def dense_forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Encode whole images: what :meth:`forward` does without a mask."""
        return super().forward(x)

    def run_stages(
        self, x: Tensor | VisiblePatches, run: Callable[[nn.Module, object], object]
    ) -> tuple[Tensor, ...]:
        """All stages, each layer by ``run(layer, x)``; the outputs of ``out_indices``."""
        outs = []
        for i, layers in enumerate(self.sparse_stages()):
            for layer in layers:
                x = run(layer, x)
            if i in self.out_indices:
                outs.append(self.stage_output(i, x))
        return tuple(outs)

    def _visible_patches(self, x: Tensor, mask: Tensor | PatchLayout) -> VisiblePatches:
        rows = (mask.grid if isinstance(mask, PatchLayout) else mask.shape[-2:])[0]
        patch = x.size(2) // rows
        layout = mask if isinstance(mask, PatchLayout) else PatchLayout(mask)
        if patch % self.stride:
            raise ValueError(
                f'mask patches of {patch} pixels ({x.size(2)}x{x.size(3)} input, '
                f'{layout.grid[0]}x{layout.grid[1]} mask) are not a multiple of the encoder '
                f'stride {self.stride}'
            )
        return VisiblePatches.from_dense(x, layout.to(x.device), self.sparse_backend)


def _take_own_part(module: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    """Of the weights of a whole model, those of its encoder.

    mmengine's ``init_cfg=dict(type='Pretrained', checkpoint=...)`` without ``prefix`` would
    load none of them, and go on.
    """
    own = {k.removeprefix('backbone.'): v for k, v in state_dict.items() if k[:9] == 'backbone.'}
    if own and not prefix:
        state_dict.clear()
        state_dict.update(own)
