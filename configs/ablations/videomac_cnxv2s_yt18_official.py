# The encoder and the initialisation of the released code.
_base_ = '../videomac_cnxv2s_yt18.py'

model = dict(
    backbone=dict(preset='official'),
    head=dict(init_cfg=dict(type='TruncNormal', layer='Conv2d', std=1.0)),
)
