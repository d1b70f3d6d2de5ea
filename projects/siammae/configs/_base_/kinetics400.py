# Twice per pass a pair of frames of every training video (Table 4a).
crop = dict(
    type='RandomResizedCropFrames',  # one crop and flip for all frames of a sample
    scale=224,
    crop_ratio_range=(0.5, 1.0),
    interpolation='bicubic',
    flip_prob=0.5,
)
train_pipeline = [crop, dict(type='PackFramePair')]

train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='FramePairDataset',
        data_root='data/kinetics400/videos_train',
        ann_file='',
        sampling=dict(type='past_future', repeats=2, gap=(4, 48), fps=30.0, num_futures=1),
        pipeline=train_pipeline,
    ),
)
