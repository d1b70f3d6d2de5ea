# Mask R-CNN of mmdet, in the schedule of its ConvNeXt-T. Needs mmdet and full mmcv:
# mim train mmdet configs/benchmarks/coco/mask-rcnn_cnxv2t_fpn_3x.py
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmvideomac'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmvideomac.SparseConvNeXtV2',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.4,
        frozen_stages=0,  # stages, with their stems, that stay as pre-trained
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/videomac_cnxv2t_yt18/epoch_100.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise', num_layers=6),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, end=1000),
    dict(type='MultiStepLR', milestones=[27, 33], gamma=0.1),
]
train_cfg = dict(max_epochs=36)
default_hooks = dict(pretrained_check=dict(type='mmvideomac.PretrainedCheckHook'))
