_base_ = 'videomac.py'

model = dict(protocol='vfs')
