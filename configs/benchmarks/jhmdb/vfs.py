_base_ = 'videomac.py'

model = dict(protocol='vfs')
test_evaluator = dict(first_frame=True)
