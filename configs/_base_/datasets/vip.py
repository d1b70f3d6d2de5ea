_base_ = 'labelled_clips.py'

test_dataloader = dict(dataset=dict(type='VIPDataset', data_root='data/vip', split='val'))
test_evaluator = dict(type='VIPMetric')
