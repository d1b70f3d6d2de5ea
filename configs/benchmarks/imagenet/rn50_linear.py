_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../../_base_/datasets/image_folder_linear.py',
    '../../_base_/schedules/linear_probe_90e.py',
    '../../_base_/finetune_runtime.py',
]

pretrained = dict(
    type='Pretrained',
    checkpoint='work_dirs/videomac_rn50_yt18/epoch_100.pth',
    prefix='backbone.',
)
model = dict(
    backbone=dict(frozen_stages=4, norm_eval=True, init_cfg=pretrained),
    neck=[dict(type='GlobalAveragePooling'), dict(type='ClsBatchNormNeck', input_features=2048)],
    head=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.01)),
)
train_dataloader = dict(batch_size=2048)
