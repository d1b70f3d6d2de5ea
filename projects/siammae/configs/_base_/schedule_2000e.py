# 2000 effective epochs (Table 4a) are 1000 passes, since each shows a video twice; the 40 of
# the warm-up are 20.
total_batch_size = 2048
auto_scale_lr = dict(enable=False, base_batch_size=2048)

optim_wrapper = dict(
    type='FiniteAmpOptimWrapper',  # FiniteOptimWrapper where there is no GPU
    constructor='GroupedOptimWrapperConstructor',
    # MAE's rule for the rate of Table 4a: 1.5e-4 * 2048 / 256
    optimizer=dict(type='AdamW', lr=1.2e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0, flat_decay_mult=0.0),
)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=980, begin=20, end=1000, convert_to_iter_based=True),
]

train_cfg = dict(type='ResumableTrainLoop', max_epochs=1000)
