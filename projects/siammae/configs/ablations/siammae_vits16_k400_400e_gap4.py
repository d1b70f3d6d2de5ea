_base_ = 'siammae_vits16_k400_400e.py'

train_dataloader = dict(dataset=dict(sampling=dict(gap=(4, 4))))
