# VideoMAC (Sec. 3.3): 75 % of 32x32 patches hidden in both frames, decoder of one
# ConvNeXt V2 block, width 512.
model = dict(
    type='VideoMAC',
    data_preprocessor=dict(
        type='FramePairDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        non_blocking=True,
    ),
    backbone=dict(type='SparseConvNeXtV2', arch='small'),
    head=dict(
        type='MAEConvNeXtHead',
        in_channels=768,
        patch_size=32,
        embed_dims=512,
        depth=1,
    ),
    masker=dict(type='SymmetricRandomMask', mask_ratio=0.75),
    reconstruction_loss=dict(type='MaskedReconstructionLoss', norm_pix=True),
    consistency_loss=dict(type='ReconstructionConsistencyLoss', loss_weight=1.0),
    target_loss='monitor',
)
