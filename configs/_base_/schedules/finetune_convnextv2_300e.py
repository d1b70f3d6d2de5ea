# FCMAE's fine-tuning of ConvNeXt V2-T (Woo et al., CVPR 2023, appendix): 300 epochs.
_base_ = 'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py'

# In all; tools/train.py accumulates gradients where the processes fall short of it.
total_batch_size = 1024

optim_wrapper = dict(
    optimizer=dict(lr=3.2e-3),
    constructor='LearningRateDecayOptimWrapperConstructor',
    # The paper's 0.9 per block, where mmpretrain groups three blocks into a layer.
    paramwise_cfg=dict(layer_decay_rate=0.9**3),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, end=40, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=40, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='mmvideomac.OptimStepEMAHook', momentum=1e-4, priority='ABOVE_NORMAL'),
]
