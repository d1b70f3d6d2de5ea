_base_ = 'siammae_vits16_k400_400e.py'

model = dict(joint_encoder=True)
