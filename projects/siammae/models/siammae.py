"""Siamese Masked Autoencoders (Gupta et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from mmvideomac.registry import MODELS

from .masks import visible_indices


@MODELS.register_module()
class SiamMAE(BaseSelfSupervisor):
    """Predicts the hidden patches of future frames from a past one.

    A siamese encoder takes the visible patches of each frame apart, the decoder lets the
    future attend to the past (Fig. 1). Of several futures each is predicted by itself; the
    past is encoded once for all.

    The loss is the mean over all hidden patches of the frames that the decoder predicts:
    of the futures, with a :class:`~projects.siammae.models.decoders.JointDecoder` of the
    past too.

    A state dict holds ``backbone.*`` and ``head.*``.

    Args:
        backbone (dict): a :class:`~projects.siammae.models.vit.SiamMAEViT`.
        head (dict): one of :mod:`~projects.siammae.models.decoders`.
        masker (dict, optional): Defaults to
            :class:`~projects.siammae.models.masks.PastFutureRandomMask`, 0 % of the past
            and 95 % of the future.
        joint_encoder (bool): the encoder takes the visible patches of both frames at once
            (Table 2b). Defaults to False.
        reconstruction_loss (dict, optional): Defaults to
            :class:`~mmvideomac.models.MaskedReconstructionLoss` on normalised pixels.
        data_preprocessor (dict, optional): Defaults to
            :class:`~mmvideomac.models.FramePairDataPreprocessor`.
        init_cfg (dict, optional): as in mmengine.

    Raises:
        ValueError: if encoder and decoder do not fit each other.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        masker: dict | None = None,
        joint_encoder: bool = False,
        reconstruction_loss: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        data_preprocessor = dict(data_preprocessor or {})
        data_preprocessor.setdefault('type', 'FramePairDataPreprocessor')
        # Built here: the parent looks names up in mmpretrain's registry alone.
        super().__init__(
            MODELS.build(backbone),
            head=MODELS.build(head),
            data_preprocessor=MODELS.build(data_preprocessor),
            init_cfg=init_cfg,
        )
        for name, ours, theirs in (
            ('patch_size', self.head.patch_size, self.backbone.patch_size),
            ('in_channels', self.head.in_channels, self.backbone.embed_dims),
        ):
            if ours != theirs:
                raise ValueError(f'model.head.{name}={ours}, but the encoder has {theirs}')
        self.masker = MODELS.build(masker or dict(type='PastFutureRandomMask'))
        self.joint_encoder = joint_encoder
        self.reconstruction_loss = MODELS.build(
            reconstruction_loss or dict(type='MaskedReconstructionLoss')
        )

    def forward(
        self,
        inputs: Iterable[Tensor] | Tensor,
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | tuple[Tensor, ...] | list[DataSample]:
        """The entry of mmengine's Runner.

        Args:
            inputs (Iterable[Tensor] | Tensor): the past frame and the future ones, each
                (B, 3, H, W) normalised; for ``mode='tensor'`` a batch of images.
            data_samples (list[DataSample], optional): their ``sample_seed`` decides the
                masks.
            mode (str): ``'loss'`` -> dict of scalars; ``'predict'`` -> the predictions
                (:meth:`predict`); ``'tensor'`` -> features of whole images (no mask).
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(
        self,
        inputs: Iterable[Tensor],
        data_samples: list[DataSample] | None = None,
        masks: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Mean squared error of the hidden patches.

        Args:
            inputs (Iterable[Tensor]): see :meth:`forward`.
            data_samples (list[DataSample], optional): see :meth:`forward`.
            masks (Sequence[Tensor], optional): bool (B, gh, gw) for each frame, True =
                hidden, instead of drawing them.

        Returns:
            dict[str, Tensor]: ``loss_reconstruction``, a scalar.

        Raises:
            ValueError: if frames are no whole number of patches, or a mask hides none or
                all of them.
        """
        past, *futures = inputs
        masks = masks or self._draw_masks(past, len(futures), data_samples)
        predictions = self._predict(past, futures, masks)
        frames = [_repeat(past, len(futures)), _one_batch(futures)]
        hidden = [_repeat(masks[0], len(futures)), _one_batch(masks[1:])]
        last = slice(-len(predictions), None)  # the decoder may predict the futures alone
        loss = self.reconstruction_loss(
            torch.cat(predictions), torch.cat(frames[last]), torch.cat(hidden[last]).to(past.device)
        )
        return dict(loss_reconstruction=loss)

    @torch.no_grad()
    def predict(
        self,
        inputs: Iterable[Tensor],
        data_samples: list[DataSample] | None = None,
        masks: Sequence[Tensor] | None = None,
    ) -> list[DataSample]:
        """Predict the futures.

        Args:
            inputs, data_samples, masks: as for :meth:`loss`.

        Returns:
            list[DataSample]: for each sample ``mask`` bool (1 + futures, gh, gw), that of
            the past first, and ``pred_patches`` float32 (futures, gh * gw, p * p * 3) what
            the head predicts.
        """
        past, *futures = inputs
        masks = masks or self._draw_masks(past, len(futures), data_samples)
        patches = self._predict(past, futures, masks)[-1].float()
        patches = patches.unflatten(0, (len(past), len(futures)))
        data_samples = data_samples or [DataSample() for _ in past]
        for sample, mask, pred in zip(data_samples, torch.stack(masks, 1), patches, strict=True):
            sample.set_data(dict(mask=mask, pred_patches=pred))
        return data_samples

    def _draw_masks(
        self, past: Tensor, num_futures: int, data_samples: list[DataSample] | None
    ) -> tuple[Tensor, ...]:
        """Masks of the past and of the futures, on the CPU."""
        if data_samples is None:
            seeds = torch.randint(2**62, (len(past),)).tolist()
        else:
            seeds = [sample.sample_seed for sample in data_samples]
        return self.masker(seeds, self.backbone.grid_size(past), num_futures)

    def _predict(
        self, past: Tensor, futures: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> list[Tensor]:
        """Of the decoder, whose last are the futures': (B * futures, gh * gw, p * p * 3)."""
        count, grid = len(futures), self.backbone.grid_size(past)
        future = _one_batch(futures)
        seen_past, seen_future = (
            visible_indices(mask).to(past.device, non_blocking=True)
            for mask in (masks[0], _one_batch(masks[1:]))
        )
        visible = [_repeat(seen_past, count), seen_future]
        if self.joint_encoder:
            tokens = self.backbone.encode([_repeat(past, count), future], visible)
            cls, *parts = tokens.split([1, *(chosen.size(1) for chosen in visible)], 1)
            tokens = [torch.cat([cls, part], 1) for part in parts]
        else:
            tokens = [
                _repeat(self.backbone.encode([past], [seen_past]), count),
                self.backbone.encode([future], [seen_future]),
            ]
        return self.head(tokens, visible, grid)


def _one_batch(futures: Sequence[Tensor]) -> Tensor:
    """(B, ...) of each future -> (B * futures, ...), sample by sample."""
    return torch.stack(tuple(futures), 1).flatten(0, 1)


def _repeat(x: Tensor, count: int) -> Tensor:
    """The past's (B, ...) beside ``count`` futures each: (B * count, ...)."""
    return x if count == 1 else x.repeat_interleave(count, 0)
