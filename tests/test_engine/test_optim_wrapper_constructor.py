import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmvideomac.engine import GroupedOptimWrapperConstructor


def test_groups_of_equal_settings_are_one(caplog):
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    model.target = nn.Linear(2, 3).requires_grad_(False)
    cfg = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        paramwise_cfg=dict(bias_decay_mult=0.0, norm_decay_mult=0.0),
        constructor=GroupedOptimWrapperConstructor,
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    decayed = {id(model[0].weight), id(model[2].weight)}
    assert sorted(group['weight_decay'] for group in groups) == [0, 0.05]
    for group in groups:
        parameters = {id(p) for p in group['params']}
        if group['weight_decay']:
            assert parameters == decayed
        else:
            everything = {id(p) for p in model.parameters() if p.requires_grad}
            assert parameters == everything - decayed
    assert 'target' not in caplog.text


def test_training_is_that_of_mmengine():
    def train(constructor):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))
        cfg = dict(
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5),
            paramwise_cfg=dict(bias_decay_mult=0.0),
            constructor=constructor,
        )
        wrapper = build_optim_wrapper(model, cfg)
        for _ in range(3):
            wrapper.update_params(model(torch.ones(2, 4)).square().mean())
        return model.state_dict()

    ours, theirs = train(GroupedOptimWrapperConstructor), train('DefaultOptimWrapperConstructor')
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key])
