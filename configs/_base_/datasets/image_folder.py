# ImageNet-1k in folders of classes, or any photographs in such folders.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py'

image_folder = dict(type='mmvideomac.ImageFolder')
train_dataloader = dict(dataset=image_folder)
val_dataloader = dict(dataset=image_folder)
test_dataloader = val_dataloader
