# Every pair of consecutive frames of every training video, once per epoch.
crop = dict(
    type='RandomResizedCrop',
    scale=224,
    crop_ratio_range=(0.2, 1.0),
    interpolation='bicubic',
    backend='pillow',
)
flip = dict(type='RandomFlip', prob=0.5)
train_pipeline = [
    dict(type='ApplyToFrames', transforms=[crop, flip]),  # one crop and flip for both frames
    dict(type='PackFramePair'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='FramePairDataset',
        data_root='data/youtube_vos/train/JPEGImages',
        ann_file='',
        sampling=dict(type='all_pairs', gap=1),
        pipeline=train_pipeline,
    ),
)
