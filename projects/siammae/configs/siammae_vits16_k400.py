# Table 1, ViT-S/16: 62.0 J&F on DAVIS-2017.
_base_ = [
    '_base_/siammae.py',
    '_base_/kinetics400.py',
    '_base_/schedule_2000e.py',
    '_base_/runtime.py',
]
