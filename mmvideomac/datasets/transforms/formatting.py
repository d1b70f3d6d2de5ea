"""From transformed frames to what the model takes."""

from collections.abc import Sequence

from mmpretrain.datasets import PackInputs

from mmvideomac.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackFramePair(PackInputs):
    """Pack frames into ``dict(inputs=[frame1, frame2], data_samples=DataSample)``.

    Each input is a uint8 tensor (3, H, W), RGB. It stays uint8 until the data
    preprocessor normalises it on the device: a quarter of the bytes to move.

    **Required keys:** ``frames`` (list of uint8 arrays (H, W, 3) or PIL images).

    Args:
        meta_keys: Keys of the results that become meta information of the data
            sample, where they exist. ``sample_seed`` drives the mask; ``replaced`` is always
            one of them.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'sample_seed',
            'video',
            'frame_indices',
            'sample_idx',
            'ori_shape',
            'img_shape',
            'flip',
        ),
    ) -> None:
        super().__init__(input_key='frames', meta_keys=(*meta_keys, 'replaced'))
