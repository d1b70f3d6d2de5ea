# ResNet-50: "ResNet strikes back" A2 (Wightman et al., 2021), 300 epochs, with the layer-wise
# decay of SparK (Tian et al., ICLR 2023).
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../../_base_/datasets/image_folder_rsb.py',
    'mmpretrain::_base_/schedules/imagenet_bs2048_rsb.py',
    '../../_base_/finetune_runtime.py',
]

total_batch_size = 2048

pretrained = dict(
    type='Pretrained',
    checkpoint='work_dirs/videomac_rn50_yt18/epoch_100.pth',
    prefix='backbone.',
)
model = dict(
    backbone=dict(
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        drop_path_rate=0.05,
        init_cfg=pretrained,
    ),
    head=dict(loss=dict(use_sigmoid=True)),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.1), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.7, norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=300)
