_base_ = '../videomac_cnxv2s_yt18.py'

default_hooks = dict(ema_target=dict(schedule='cosine'))
