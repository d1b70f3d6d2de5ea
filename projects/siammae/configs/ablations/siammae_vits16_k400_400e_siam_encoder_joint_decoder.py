_base_ = 'siammae_vits16_k400_400e.py'

model = dict(head=dict(type='JointDecoder'))
