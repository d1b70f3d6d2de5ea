_base_ = '../../../../configs/benchmarks/jhmdb/siammae.py'

custom_imports = dict(imports=['mmvideomac', 'projects.siammae'])
# The last layer as it is: a cell is a patch.
model = dict(
    backbone=dict(type='SiamMAEViT', arch='deit-small', patch_size=16, _delete_=True),
    stage=-1,
    stride=None,
    stride_method='native',
)
