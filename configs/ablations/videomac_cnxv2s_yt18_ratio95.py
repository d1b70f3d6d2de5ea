_base_ = '../videomac_cnxv2s_yt18.py'

model = dict(masker=dict(mask_ratio=0.95))
