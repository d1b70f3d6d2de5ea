# Every pair of consecutive frames of every training video, once per epoch.
train_pipeline = [
    dict(
        type='ApplyToFrames',  # one crop and one flip for both frames
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
    ),
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
