_base_ = 'siammae_vits16_k400_400e_augmentation_color.py'

train_pipeline = [
    {{_base_.crop}},
    dict(type='ApplyToFrames', transforms=[{{_base_.to_pil}}, {{_base_.color_jitter}}]),
    dict(type='PackFramePair'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
