_base_ = '../videomac_cnxv2s_yt18.py'

train_dataloader = dict(dataset=dict(sampling=dict(gap=5)))
