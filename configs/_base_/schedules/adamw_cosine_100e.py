# Samples per optimiser step, whatever the number of processes: gradients are
# accumulated where batch_size * processes falls short of it. With
# --auto-scale-lr the learning rate is scaled instead.
total_batch_size = 512
auto_scale_lr = dict(enable=False, base_batch_size=512)

optim_wrapper = dict(
    type='FiniteAmpOptimWrapper',  # FiniteOptimWrapper where there is no GPU
    constructor='GroupedOptimWrapperConstructor',
    # fused: one pass over the weights, on GPUs and CPUs
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    # No decay of biases, norms and GRN.
    paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0, flat_decay_mult=0.0),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=90, begin=10, end=100, convert_to_iter_based=True),
]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=100)
