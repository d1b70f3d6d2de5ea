_base_ = [
    '_base_/models/videomac_convnextv2.py',
    '_base_/datasets/youtube_vos.py',
    '_base_/schedules/adamw_cosine_100e.py',
    '_base_/default_runtime.py',
]
