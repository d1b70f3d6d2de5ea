# Frames are only resized; the jitter is that of MAE-style colour ablations and is
# shared by both frames. The paper gives no strength.
_base_ = '../videomac_cnxv2s_yt18.py'

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
            dict(type='NumpyToPIL'),
            dict(type='torchvision/ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
        ],
    ),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
