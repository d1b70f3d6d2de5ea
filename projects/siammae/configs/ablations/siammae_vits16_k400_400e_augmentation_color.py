# All frames get the same jitter. The paper gives no strength.
_base_ = 'siammae_vits16_k400_400e_augmentation_none.py'

to_pil = dict(type='NumpyToPIL')
color_jitter = dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
train_pipeline = [
    dict(
        type='ApplyToFrames',
        transforms=[{{_base_.resize}}, {{_base_.center_crop}}, to_pil, color_jitter],
    ),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
