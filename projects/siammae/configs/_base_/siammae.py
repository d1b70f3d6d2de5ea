# SiamMAE (Sec. 3): siamese ViT-S/16, cross-self decoder of MAE's size, 95 % of the future hidden.
model = dict(
    type='SiamMAE',
    data_preprocessor=dict(
        type='FramePairDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        non_blocking=True,
    ),
    backbone=dict(type='SiamMAEViT', arch='deit-small', img_size=224, patch_size=16),
    head=dict(
        type='CrossSelfDecoder',
        in_channels=384,
        img_size=224,
        patch_size=16,
        embed_dims=512,
        depth=8,
        num_heads=16,
    ),
    masker=dict(type='PastFutureRandomMask', past_ratio=0.0, future_ratio=0.95),
    joint_encoder=False,
    reconstruction_loss=dict(type='MaskedReconstructionLoss', norm_pix=True),
)
