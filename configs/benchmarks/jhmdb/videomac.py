_base_ = [
    '../../_base_/models/label_propagation.py',
    '../../_base_/datasets/jhmdb.py',
    '../../_base_/benchmark_runtime.py',
]

model = dict(task='jhmdb', protocol='videomac')
