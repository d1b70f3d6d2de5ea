# Label propagation on a few clips during pre-training. A config with this base also
# says how often, `train_cfg = dict(val_interval=...)`, and what the best checkpoint is
# kept by, `default_hooks = dict(checkpoint=dict(save_best='davis/J&F'))`.
val_dataloader = dict(
    batch_size=1,
    num_workers=0,  # frames are decoded one by one while a clip is worked on
    collate_fn=dict(type='pseudo_collate'),
    # Whole clips go to the processes in turn.
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='DAVISDataset',
        data_root='data/davis',
        year='2017',
        split='val',
        resolution='480p',
        indices=4,  # the first clips; by name: sequences=[...]
        max_frames=20,
    ),
)
val_evaluator = dict(type='DAVISMetric', collect_device='gpu')
# Cheap rather than good: scores compare epochs, not encoders with those of papers.
val_cfg = dict(
    type='LabelPropagationProbeLoop',
    protocol='dino',
    stage=3,
    stride=8,
    stride_method='resample',
    network='online',
)
