# As image_folder.py, with crops and flips alone, for linear probes.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py'

image_folder = dict(type='mmvideomac.ImageFolder')
train_dataloader = dict(dataset=image_folder)
val_dataloader = dict(dataset=image_folder)
test_dataloader = val_dataloader
