"""Image transforms of other libraries, applied to several frames alike."""

from collections.abc import Callable, Sequence

from mmcv.transforms import BaseTransform

from mmvideomac.datasets.randomness import get_rng_state, set_rng_state
from mmvideomac.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ApplyToFrames(BaseTransform):
    """Apply image transforms to every frame, by default with the same random numbers.

    Any transform of mmcv, mmpretrain or ``torchvision/...`` that works on
    ``results['img']`` can be used: the random state is replayed for each frame,
    so that all frames get one crop, one flip, one jitter. (For crop and flip alone,
    :class:`~mmvideomac.datasets.transforms.RandomResizedCropFrames` is faster.) ::

        dict(
            type='ApplyToFrames',
            transforms=[
                dict(
                    type='RandomResizedCrop',
                    scale=224,
                    crop_ratio_range=(0.2, 1.0),
                    interpolation='bicubic',
                    backend='pillow',
                ),
                dict(type='RandomFlip', prob=0.5),
            ],
        )

    mmcv's ``TransformBroadcaster(share_random_params=True)`` has this purpose,
    but shares only methods marked for it, fails with mmpretrain's
    ``RandomResizedCrop`` ("invoked 2 times", mmcv 2.2, mmpretrain 1.2) and no
    longer shares once it has been copied.

    For colour jitter take ``dict(type='NumpyToPIL')`` followed by
    ``dict(type='torchvision/ColorJitter', ...)``: frames here are RGB, and
    mmpretrain's ``ColorJitter`` takes its input for BGR.

    **Required keys:** ``frames`` (list of images of one size).

    **Modified keys:** ``frames``, and what the transforms add (``img_shape``,
    ``flip``, ...), as one value if shared, else as a list with one per frame.

    Args:
        transforms: Transforms, or their configs, of ``results['img']``.
        share_random_params: False draws anew for each frame.
    """

    def __init__(
        self, transforms: Sequence[dict | Callable], share_random_params: bool = True
    ) -> None:
        self.transforms = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]
        self.share_random_params = share_random_params

    def transform(self, results: dict) -> dict:
        frames = results.pop('frames')
        outputs = []
        state = get_rng_state()
        for number, frame in enumerate(frames):
            if number and self.share_random_params:
                set_rng_state(state)
            output = {**results, 'img': frame}
            for transform in self.transforms:
                output = transform(output)
            outputs.append(output)
        images = [output.pop('img') for output in outputs]
        for key in outputs[0]:
            values = [output[key] for output in outputs]
            untouched = all(value is results.get(key) for value in values)
            results[key] = values[0] if self.share_random_params or untouched else values
        return {**results, 'frames': images}

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(transforms={self.transforms}, '
            f'share_random_params={self.share_random_params})'
        )
