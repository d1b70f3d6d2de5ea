"""VideoMAC: Video Masked Autoencoders Meet ConvNets (Pei et al., CVPR 2024)."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mmvideomac.registry import MODELS

from ..patchify import patch_statistics, patchify, unpatchify
from ..sparse import PatchLayout


@MODELS.register_module()
class VideoMAC(BaseSelfSupervisor):
    """Masked autoencoding of frame pairs with an online and an EMA target network.

    The online network reconstructs frame 1 by gradient, its moving average
    reconstructs frame 2, a consistency loss ties the two (Fig. 3, Eq. 1-3):
    ``loss = loss_online + loss_target + loss_consistency``. The target twins are
    moved by :class:`~mmvideomac.engine.hooks.EMATargetHook`.

    A state dict holds ``backbone.*`` and ``head.*`` (online) and ``target.*``;
    loading one without ``target.*`` starts the targets from the online weights.

    Args:
        backbone (dict): encoder whose ``forward`` takes ``(x, mask)``.
        head (dict): decoder; its ``patch_size`` is the mask's patch.
        masker (dict): draws the masks of both frames. Defaults to
            :class:`SymmetricRandomMask` at ratio 0.75.
        reconstruction_loss (dict): L_o and L_t.
        consistency_loss (dict | None): gamma * L_c; None leaves it out
            (Table 4d). Defaults to gamma 1.
        target_loss (str): what L_t does. ``'monitor'`` (released code): it is
            logged and part of the total, but has no gradient, since the target
            network has none. ``'backprop'``: frame 2 is reconstructed by the
            online network as well, and L_t trains it (one more forward and
            backward pass; the only reading under which Table 4d's gain from L_t
            is possible). ``'off'``: not computed.
        data_preprocessor (dict, optional): Defaults to
            :class:`FramePairDataPreprocessor`.
        compile_cfg (dict, optional): have :func:`torch.compile` make one graph of all
            between the masks and the losses, with these options (``{}``: its own
            defaults). Shapes are fixed. Losses differ from those of the usual way by
            rounding. None leaves it out.
        init_cfg (dict, optional): as in mmengine.

    Raises:
        ValueError: for an unknown ``target_loss``.
    """

    def __init__(
        self,
        backbone: dict,
        head: dict,
        masker: dict | None = None,
        reconstruction_loss: dict | None = None,
        consistency_loss: dict | None = dict(type='ReconstructionConsistencyLoss'),  # noqa: B006
        target_loss: str = 'monitor',
        data_preprocessor: dict | None = None,
        compile_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if target_loss not in ('monitor', 'backprop', 'off'):
            raise ValueError(
                f"unknown target_loss={target_loss!r}; choose 'monitor', 'backprop' or 'off'"
            )
        data_preprocessor = dict(data_preprocessor or {})
        data_preprocessor.setdefault('type', 'FramePairDataPreprocessor')
        # Built here: the parent looks names up in mmpretrain's registry, where
        # SparseConvNeXt is another class.
        super().__init__(
            MODELS.build(backbone),
            head=MODELS.build(head),
            data_preprocessor=MODELS.build(data_preprocessor),
            init_cfg=init_cfg,
        )
        self.masker = MODELS.build(masker or dict(type='SymmetricRandomMask'))
        self.reconstruction_loss = MODELS.build(
            reconstruction_loss or dict(type='MaskedReconstructionLoss')
        )
        self.consistency_loss = MODELS.build(consistency_loss) if consistency_loss else None
        self.target_loss = target_loss
        self._compiled_losses = None
        if compile_cfg is not None:
            # Of the class: a copy of this object must not compute with our weights.
            self._compiled_losses = torch.compile(
                type(self)._losses, fullgraph=True, dynamic=False, **compile_cfg
            )
        self.target = nn.ModuleDict(
            {name: copy.deepcopy(getattr(self, name)) for name in ('backbone', 'head')}
        )
        self.target.requires_grad_(False).eval()
        self.register_load_state_dict_pre_hook(_start_target_from_online)

    def train(self, mode: bool = True) -> VideoMAC:
        """The targets stay in eval mode: no drop path, fixed statistics."""
        super().train(mode)
        self.target.eval()
        return self

    def init_weights(self) -> None:
        super().init_weights()
        for name, twin in self.target.items():
            twin.load_state_dict(getattr(self, name).state_dict())

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Move the targets: target = momentum * target + (1 - momentum) * online.

        The running statistics of batch norms are averaged as well: those of the
        online network do not fit averaged weights. Counters are copied.

        Args:
            momentum (float): in [0, 1].
        """
        averaged, sources = [], []
        for name, twin in self.target.items():
            ours = getattr(self, name).state_dict(keep_vars=True)
            for key, value in twin.state_dict(keep_vars=True).items():
                if value.is_floating_point():
                    averaged.append(value.data)
                    sources.append(ours[key].data)
                else:
                    value.copy_(ours[key])
        get_ema_multi_avg_fn(momentum)(averaged, sources, None)

    def forward(
        self,
        inputs: Iterable[Tensor] | Tensor,
        data_samples: list[DataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | tuple[Tensor, ...] | list[DataSample]:
        """The entry of mmengine's Runner.

        Args:
            inputs (Iterable[Tensor] | Tensor): two frames, each (B, 3, H, W)
                normalised; for ``mode='tensor'`` a batch of images.
            data_samples (list[DataSample], optional): their ``sample_seed``
                decides the masks.
            mode (str): ``'loss'`` -> dict of scalars; ``'predict'`` -> the
                reconstructions (:meth:`predict`); ``'tensor'`` -> features of
                whole images (no mask).
        """
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(
        self,
        inputs: Iterable[Tensor],
        data_samples: list[DataSample] | None = None,
        masks: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of Eq. 1-3.

        Args:
            inputs (Iterable[Tensor]): frames 1 and 2, (B, 3, H, W) each, normalised.
            data_samples (list[DataSample], optional): see :meth:`forward`.
            masks (tuple[Tensor, Tensor], optional): bool (B, gh, gw) for each
                frame, True = masked, instead of drawing them.

        Returns:
            dict[str, Tensor]: ``loss_online``, ``loss_target``,
            ``loss_consistency``, scalars; those that are off are missing.
        """
        frame1, frame2 = inputs
        layouts = self._layouts(frame1, data_samples, masks)
        compute = self._compiled_losses or type(self)._losses
        return compute(self, frame1, frame2, *layouts)

    def _losses(
        self, frame1: Tensor, frame2: Tensor, layout1: PatchLayout, layout2: PatchLayout
    ) -> dict[str, Tensor]:
        pred1 = self._reconstruct(self.backbone, self.head, frame1, layout1)
        losses = dict(loss_online=self.reconstruction_loss(pred1, frame1, layout1.mask))
        if self.consistency_loss is not None or self.target_loss == 'monitor':
            with torch.no_grad():
                pred2 = self._reconstruct(**self.target, frame=frame2, layout=layout2)
        if self.target_loss == 'monitor':
            losses['loss_target'] = self.reconstruction_loss(pred2, frame2, layout2.mask)
        elif self.target_loss == 'backprop':
            online2 = self._reconstruct(self.backbone, self.head, frame2, layout2)
            losses['loss_target'] = self.reconstruction_loss(online2, frame2, layout2.mask)
        if self.consistency_loss is not None:
            losses['loss_consistency'] = self.consistency_loss(
                pred1, pred2, layout1.mask, layout2.mask
            )
        return losses

    @torch.no_grad()
    def predict(
        self,
        inputs: list[Tensor],
        data_samples: list[DataSample] | None = None,
        masks: tuple[Tensor, Tensor] | None = None,
    ) -> list[DataSample]:
        """Reconstruct both frames: 1 by the online, 2 by the target network.

        Args:
            inputs, data_samples, masks: as for :meth:`loss`.

        Returns:
            list[DataSample]: for each sample, with the frames along dim 0,
            ``mask`` bool (2, gh, gw); ``pred_patches`` (2, gh * gw, p * p * 3)
            what the head predicts; ``pred`` (2, 3, H, W) as pixels of the
            normalised input. If targets are normalised per patch, ``pred`` uses
            the mean and variance of the **true** patch, which leaks ground truth.
            ``pred_pasted``: the same with visible patches as they were.
        """
        layouts = self._layouts(inputs[0], data_samples, masks)
        networks = (dict(backbone=self.backbone, head=self.head), self.target)
        patches = [
            self._reconstruct(**network, frame=frame, layout=layout).float()
            for network, frame, layout in zip(networks, inputs, layouts, strict=True)
        ]
        pixels, pasted = [], []
        for pred, frame, layout in zip(patches, inputs, layouts, strict=True):
            true = patchify(frame.float(), self.head.patch_size)
            if self.reconstruction_loss.norm_pix:
                mean, std = patch_statistics(true)
                pred = pred * std + mean
            mixed = torch.where(layout.mask.flatten(1)[..., None], pred, true)
            pixels.append(unpatchify(pred, layout.grid, self.head.patch_size))
            pasted.append(unpatchify(mixed, layout.grid, self.head.patch_size))
        fields = dict(
            mask=torch.stack([layout.mask for layout in layouts], 1),
            pred_patches=torch.stack(patches, 1),
            pred=torch.stack(pixels, 1),
            pred_pasted=torch.stack(pasted, 1),
        )
        data_samples = data_samples or [DataSample() for _ in inputs[0]]
        for i, sample in enumerate(data_samples):
            sample.set_data({name: values[i] for name, values in fields.items()})
        return data_samples

    def _layouts(
        self,
        frame: Tensor,
        data_samples: list[DataSample] | None,
        masks: tuple[Tensor, Tensor] | None,
    ) -> tuple[PatchLayout, PatchLayout]:
        """Layouts of both frames; the same object if both share one mask."""
        patch = self.head.patch_size
        if masks is None:
            height, width = frame.shape[2:]
            if height % patch or width % patch:
                raise ValueError(
                    f'input frames of {height}x{width} are not a multiple of the {patch}-pixel '
                    'mask patch: change the size of the crop in the data pipeline'
                )
            if data_samples is None:
                seeds = torch.randint(2**62, (len(frame),)).tolist()
            else:
                seeds = [sample.sample_seed for sample in data_samples]
            masks = self.masker(seeds, (height // patch, width // patch))
        first, second = masks
        layout1 = PatchLayout(first).to(frame.device)
        layout2 = layout1 if second is first else PatchLayout(second).to(frame.device)
        return layout1, layout2

    @staticmethod
    def _reconstruct(
        backbone: nn.Module, head: nn.Module, frame: Tensor, layout: PatchLayout
    ) -> Tensor:
        return head(backbone(frame, layout), layout.mask)


def _start_target_from_online(module: VideoMAC, state_dict: dict, prefix: str, *_) -> None:
    """Complete a checkpoint of the online network alone with its copy as target."""
    if any(key.startswith(f'{prefix}target.') for key in state_dict):
        return
    for name in module.target:
        online = f'{prefix}{name}.'
        for key in [key for key in state_dict if key.startswith(online)]:
            state_dict[f'{prefix}target.{key[len(prefix) :]}'] = state_dict[key]
