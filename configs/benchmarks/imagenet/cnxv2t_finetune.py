# Table 5 of VideoMAC: ConvNeXt V2-T, 82.9 (from scratch 82.5). The paper names no recipe:
# this is FCMAE's.
_base_ = [
    'mmpretrain::_base_/models/convnext_v2/tiny.py',
    '../../_base_/datasets/image_folder.py',
    '../../_base_/schedules/finetune_convnextv2_300e.py',
    '../../_base_/finetune_runtime.py',
]

pretrained = dict(
    type='Pretrained',
    checkpoint='work_dirs/videomac_cnxv2t_yt18/epoch_100.pth',
    prefix='backbone.',  # or the moving average: 'target.backbone.'
)
model = dict(backbone=dict(init_cfg=pretrained))
train_dataloader = dict(batch_size=32)
