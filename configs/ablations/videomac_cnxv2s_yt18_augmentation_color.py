# Frames are only resized; both get the same jitter. The paper gives no strength.
_base_ = '../videomac_cnxv2s_yt18.py'

to_pil = dict(type='NumpyToPIL')
color_jitter = dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
train_pipeline = [
    dict(
        type='ApplyToFrames',
        transforms=[
            dict(
                type='ResizeEdge',
                scale=224,
                edge='short',
                interpolation='bicubic',
                backend='pillow',
            ),
            dict(type='CenterCrop', crop_size=224),
            to_pil,
            color_jitter,
        ],
    ),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
