_base_ = 'siammae_vits16_k400_400e.py'

model = dict(masker=dict(type='PastFutureGridMask', _delete_=True))
