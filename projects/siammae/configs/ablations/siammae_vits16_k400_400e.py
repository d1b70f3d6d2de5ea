# 400 effective epochs of Table 2 and 3, 200 passes. Their default: 58.1 J&F on DAVIS-2017.
_base_ = '../siammae_vits16_k400.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=180, begin=20, end=200, convert_to_iter_based=True),
]

train_cfg = dict(max_epochs=200)
