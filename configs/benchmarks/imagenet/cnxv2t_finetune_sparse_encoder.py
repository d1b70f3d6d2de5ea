# The same run with our encoder in the classifier: without a mask it is the dense one.
_base_ = 'cnxv2t_finetune.py'

model = dict(backbone=dict(type='mmvideomac.SparseConvNeXtV2', gap_before_final_norm=True))
