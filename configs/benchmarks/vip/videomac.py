_base_ = [
    '../../_base_/models/label_propagation.py',
    '../../_base_/datasets/vip.py',
    '../../_base_/benchmark_runtime.py',
]

model = dict(task='vip', protocol='videomac')
