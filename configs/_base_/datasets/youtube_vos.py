# Every pair of consecutive frames of every training video, once per epoch.
crop = dict(
    type='RandomResizedCropFrames',  # one crop and flip for both frames
    scale=224,
    crop_ratio_range=(0.2, 1.0),
    interpolation='bicubic',
    flip_prob=0.5,
)
train_pipeline = [crop, dict(type='PackFramePair')]

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
