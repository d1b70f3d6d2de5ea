# Some hundred photographs on a CPU: ConvNeXt V2 atto at 128 pixels.
# python tools/train.py configs/benchmarks/image_folder/cnxv2a_finetune.py \
#     --cfg-options model.backbone.init_cfg.checkpoint=CHECKPOINT
# From scratch: model.backbone.init_cfg=None. Other data: data_root and num_classes below.
_base_ = '../imagenet/cnxv2t_finetune.py'

num_classes = 10
data_preprocessor = dict(num_classes=num_classes)
model = dict(
    backbone=dict(
        arch='atto',
        drop_path_rate=0.0,
        init_cfg=dict(checkpoint='work_dirs/videomac_cnxv2a_own_videos_cpu/epoch_100.pth'),
    ),
    head=dict(num_classes=num_classes, in_channels=320),
    train_cfg=None,  # mixup and cutmix take longer than this
)

resize = dict(backend='pillow', interpolation='bicubic')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=128, crop_ratio_range=(0.35, 1.0), **resize),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=146, edge='short', **resize),
    dict(type='CenterCrop', crop_size=128),
    dict(type='PackInputs'),
]
images = dict(data_root='data/images')
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=train_pipeline, **images))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline, **images))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

total_batch_size = 32
# No layer-wise decay, which would not be fair to training from scratch.
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=2, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=15, val_interval=5)
custom_hooks = []  # a moving average of so few steps is the random start
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=15, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=32)
