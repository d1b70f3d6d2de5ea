_base_ = 'labelled_clips.py'

test_dataloader = dict(
    dataset=dict(
        type='DAVISDataset', data_root='data/davis', year='2017', split='val', resolution='480p'
    )
)
test_evaluator = dict(type='DAVISMetric')
