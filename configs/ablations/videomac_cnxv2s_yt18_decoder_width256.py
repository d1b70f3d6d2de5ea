_base_ = '../videomac_cnxv2s_yt18.py'

model = dict(head=dict(embed_dims=256))
