_base_ = 'siammae_vits16_k400_400e.py'

model = dict(masker=dict(future_ratio=0.9))
