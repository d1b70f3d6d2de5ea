# MAE's linear probe (He et al., CVPR 2022, appendix): LARS, 90 epochs, batch 16384.
total_batch_size = 16384

optim_wrapper = dict(optimizer=dict(type='LARS', lr=6.4, weight_decay=0.0, momentum=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=10, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=90, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=16384)
