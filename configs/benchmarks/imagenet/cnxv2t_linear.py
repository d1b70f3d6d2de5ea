# Linear probe: a linear classifier on batch-normalised features of a frozen encoder.
_base_ = [
    'mmpretrain::_base_/models/convnext_v2/tiny.py',
    '../../_base_/datasets/image_folder_linear.py',
    '../../_base_/schedules/linear_probe_90e.py',
    '../../_base_/finetune_runtime.py',
]

pretrained = dict(
    type='Pretrained',
    checkpoint='work_dirs/videomac_cnxv2t_yt18/epoch_100.pth',
    prefix='backbone.',
)
model = dict(
    backbone=dict(drop_path_rate=0.0, frozen_stages=4, init_cfg=pretrained),
    # Cancels the affine part of the output norm, which frozen_stages leaves trainable.
    neck=dict(type='ClsBatchNormNeck', input_features=768),
    head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss')),
    train_cfg=None,  # neither mixup nor cutmix
)
train_dataloader = dict(batch_size=2048)
