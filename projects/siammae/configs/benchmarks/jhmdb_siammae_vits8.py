_base_ = 'jhmdb_siammae_vits16.py'

model = dict(backbone=dict(patch_size=8))
