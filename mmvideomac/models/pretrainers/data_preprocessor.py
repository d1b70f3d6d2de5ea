"""Frames from the loader to what pre-training takes."""

from __future__ import annotations

from mmpretrain.models.utils import SelfSupDataPreprocessor

from mmvideomac.registry import MODELS


@MODELS.register_module()
class FramePairDataPreprocessor(SelfSupDataPreprocessor):
    """mmpretrain's ``SelfSupDataPreprocessor``, whose frames can be taken once in training.

    The backward pass does not need the normalised frames, but a training step, the
    model's or that of its DDP wrapper, keeps its batch until the end of it. The batch
    therefore holds an iterator over the frames, not a list.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """
        Args:
            data (dict): ``inputs``, frames 1 and 2, uint8 (B, 3, H, W) each, and
                ``data_samples``.
            training (bool): whether it is for a training step.

        Returns:
            dict: the same on the device, the frames as float32, normalised; in
            training ``inputs`` is an iterator.
        """
        batch = super().forward(data, training)
        if training:
            batch['inputs'] = iter(tuple(batch['inputs']))
        return batch
