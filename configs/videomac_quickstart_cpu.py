# Small enough for two CPU cores: ConvNeXt V2 atto on 160-pixel frames.
_base_ = 'videomac_cnxv2s_yt18.py'

model = dict(
    backbone=dict(arch='atto'),
    head=dict(in_channels=320, embed_dims=256),
)

total_batch_size = 32
auto_scale_lr = dict(base_batch_size=32)
