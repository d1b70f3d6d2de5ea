# Frames are only resized.
_base_ = 'siammae_vits16_k400_400e.py'

resize = dict(type='ResizeEdge', scale=224, edge='short', interpolation='bicubic', backend='pillow')
center_crop = dict(type='CenterCrop', crop_size=224)
train_pipeline = [
    dict(type='ApplyToFrames', transforms=[resize, center_crop]),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
