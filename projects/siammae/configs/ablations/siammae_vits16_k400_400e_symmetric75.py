_base_ = 'siammae_vits16_k400_400e.py'

model = dict(masker=dict(past_ratio=0.75, future_ratio=0.75))
