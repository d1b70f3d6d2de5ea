_base_ = '../videomac_cnxv2s_yt18.py'

train_pipeline = [
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
            dict(type='NumpyToPIL'),
            dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
        ],
    ),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
