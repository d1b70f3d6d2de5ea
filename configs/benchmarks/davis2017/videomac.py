_base_ = [
    '../../_base_/models/label_propagation.py',
    '../../_base_/datasets/davis2017.py',
    '../../_base_/benchmark_runtime.py',
]

model = dict(task='davis', protocol='videomac')
