# In float32, as the released recipe has it for ResNets.
_base_ = 'videomac_cnxv2s_yt18.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SparseResNet',
        depth=18,
        norm_cfg=dict(type='SyncBN', requires_grad=True),  # plain BN on one process
    ),
    head=dict(in_channels=512),
)
optim_wrapper = dict(type='FiniteOptimWrapper')
