_base_ = 'videomac_cnxv2s_yt18.py'

model = dict(backbone=dict(arch='base'), head=dict(in_channels=1024))
