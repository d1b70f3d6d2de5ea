_base_ = 'siammae_vits16_k400_400e.py'

model = dict(
    joint_encoder=True,
    head=dict(type='JointDecoder'),
    masker=dict(past_ratio=0.5, future_ratio=0.5),
)
