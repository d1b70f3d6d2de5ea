_base_ = '../videomac_cnxv2s_yt18.py'

model = dict(consistency_loss=dict(loss_weight=0.0))
