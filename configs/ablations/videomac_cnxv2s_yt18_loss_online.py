_base_ = '../videomac_cnxv2s_yt18.py'

model = dict(consistency_loss=None, target_loss='off')
