# Table 5 of VideoMAC: ConvNeXt-T, 82.3 (from scratch 82.1).
_base_ = [
    'mmpretrain::_base_/models/convnext/convnext-tiny.py',
    '../../_base_/datasets/image_folder.py',
    '../../_base_/schedules/finetune_convnextv2_300e.py',
    '../../_base_/finetune_runtime.py',
]

pretrained = dict(
    type='Pretrained',
    checkpoint='work_dirs/videomac_cnxv1t_yt18/epoch_100.pth',
    prefix='backbone.',
)
model = dict(backbone=dict(init_cfg=pretrained))
train_dataloader = dict(batch_size=32)
