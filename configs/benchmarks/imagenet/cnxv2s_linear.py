_base_ = 'cnxv2t_linear.py'

pretrained = dict(checkpoint='work_dirs/videomac_cnxv2s_yt18/epoch_100.pth')
model = dict(backbone=dict(arch='small', init_cfg=pretrained))
