_base_ = 'videomac_cnxv1s_yt18.py'

model = dict(backbone=dict(arch='tiny'))
