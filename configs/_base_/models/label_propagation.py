# An encoder without any head. Stage, effective stride and how it is reached matter
# as much as the weights: results are comparable at equal settings only.
model = dict(
    type='LabelPropagation',
    backbone=dict(type='SparseConvNeXtV2', arch='small'),
    stage=3,  # of 4, res4
    stride=8,
    stride_method='enlarged_input',  # native | unit_stride | dilation | resample
    network='online',  # of a pre-training checkpoint, or its moving average: 'target'
)
