# As image_folder.py, with the weaker augmentation of "ResNet strikes back".
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs256_rsb_a12.py'

image_folder = dict(type='mmvideomac.ImageFolder')
train_dataloader = dict(dataset=image_folder)
val_dataloader = dict(dataset=image_folder)
test_dataloader = val_dataloader
