_base_ = 'cnxv2t_linear.py'

pretrained = dict(checkpoint='work_dirs/videomac_cnxv1t_yt18/epoch_100.pth')
model = dict(backbone=dict(use_grn=False, layer_scale_init_value=1e-6, init_cfg=pretrained))
