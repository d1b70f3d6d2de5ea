# Table 2: ConvNeXt V2-S made isotropic, 14x14 sites throughout (22 M parameters,
# 4.3 GFLOPs). The paper leaves the mask open; here, as for a ViT, a patch is one
# site of 16x16 pixels: 49 of 196 stay visible.
_base_ = 'videomac_cnxv2s_yt18.py'

model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=[18], channels=[384]), stem_patch_size=16),
    head=dict(in_channels=384, patch_size=16),
)
