_base_ = 'labelled_clips.py'

test_dataloader = dict(dataset=dict(type='JHMDBDataset', data_root='data/jhmdb', split=1))
test_evaluator = dict(type='PCKMetric')
