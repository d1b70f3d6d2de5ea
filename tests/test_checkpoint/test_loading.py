import pytest
import torch
from mmpretrain.models import ResNet, VisionTransformer
from torch import nn

from mmvideomac.checkpoint.loading import (
    describe_encoder,
    find_latest_checkpoint,
    is_complete,
    load_state_dict_strictly,
)


def save(path, iteration, **extra):
    checkpoint = dict(meta=dict(iter=iteration), state_dict={'w': torch.ones(9)}, optimizer={})
    torch.save({**checkpoint, **extra}, path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_is_complete(tmp_path):
    path = save(tmp_path / 'a.pth', 1)
    assert is_complete(path)
    truncate(path)
    assert not is_complete(path)
    path.write_bytes(b'')
    assert not is_complete(path)
    assert not is_complete(tmp_path / 'none.pth')
    torch.save(dict(w=torch.ones(2)), path, _use_new_zipfile_serialization=False)
    assert is_complete(path)


def test_latest_is_what_the_pointer_names(tmp_path):
    save(tmp_path / 'epoch_1.pth', 10)
    save(tmp_path / 'epoch_2.pth', 20)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_latest_in_a_moved_folder(tmp_path):
    save(tmp_path / 'epoch_1.pth', 10)
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_latest_when_the_named_one_is_broken(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr('mmvideomac.checkpoint.loading.print_log', lambda m, **_: warnings.append(m))
    for epoch in (2, 9, 10):  # names do not sort like iterations
        save(tmp_path / f'epoch_{epoch}.pth', 10 * epoch)
    save(tmp_path / 'mid_epoch.pth', 95)
    truncate(tmp_path / 'epoch_10.pth')
    torch.save(dict(w=torch.ones(2)), tmp_path / 'weights_only.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'mid_epoch.pth')
    assert any('missing or incomplete' in warning for warning in warnings)
    assert any('epoch_10.pth is incomplete' in warning for warning in warnings)


def test_no_checkpoint(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None
    assert find_latest_checkpoint(tmp_path / 'none') is None
    torch.save(dict(w=torch.ones(2)), tmp_path / 'weights_only.pth')
    assert find_latest_checkpoint(tmp_path) is None


def convnext(depths=(1, 2), channels=(4, 8), grn=True):
    state = {}
    for stage, (depth, width) in enumerate(zip(depths, channels, strict=True)):
        for block in range(depth):
            prefix = f'stages.{stage}.{block}.'
            state[prefix + 'depthwise_conv.weight'] = torch.zeros(width, 1, 7, 7)
            if grn:
                state[prefix + 'grn.gamma'] = torch.zeros(4 * width)
    return state


def twins(state):
    return {f'{part}.{k}': v for part in ('backbone', 'target.backbone') for k, v in state.items()}


def test_describe_encoder():
    v2 = 'ConvNeXt V2, depths 1-2, channels 4-8'
    assert describe_encoder(convnext()) == v2
    assert describe_encoder(twins(convnext())) == v2
    assert describe_encoder(convnext(grn=False)) == v2.replace('V2', 'V1')
    released = {'encoder.stages.0.0.dwconv.kernel': torch.zeros(49, 96), 'x.grn.gamma': 0}
    assert describe_encoder(released) == 'ConvNeXt V2, depths 1, channels 96'
    assert describe_encoder(ResNet(18).state_dict()) == 'ResNet of basic blocks, depths 2-2-2-2'
    bottleneck = 'ResNet of bottleneck blocks, depths 3-4-6-3'
    assert describe_encoder(ResNet(50).state_dict()) == bottleneck
    vit = VisionTransformer(arch='deit-tiny', img_size=32)
    assert describe_encoder(vit.state_dict()) == 'ViT, 12 layers, 192 channels'
    assert describe_encoder({'w': torch.ones(1)}) == 'no encoder known here'


class Net(nn.Module):
    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            module = self
            *path, leaf = name.split('.')
            for part in path:
                if part not in module._modules:
                    module.add_module(part, nn.Module())
                module = module._modules[part]
            module.register_parameter(leaf, nn.Parameter(value.clone()))


def test_loads_a_match_exactly():
    state = {k: torch.rand_like(v) for k, v in convnext().items()}
    net = Net(convnext())
    load_state_dict_strictly(net, state, source='x.pth')
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    'other, expected',
    [
        (convnext(depths=(1, 3)), ['depths 1-3', '2 unknown to the model: stages.1.2.']),
        (convnext(depths=(1, 1)), ['depths 1-1', '2 missing in it: stages.1.1.']),
        (convnext(grn=False), ['ConvNeXt V1', '3 missing in it']),
        (
            convnext(channels=(4, 6)),
            ['channels 4-6', '4 of another shape', '(6, 1, 7, 7), not (8, 1, 7, 7)'],
        ),
    ],
)
def test_other_architecture_is_one_message(other, expected):
    with pytest.raises(ValueError, match=r'^x\.pth does not fit the model') as error:
        load_state_dict_strictly(Net(convnext()), other, source='x.pth')
    message = str(error.value)
    assert 'the model: ConvNeXt V2, depths 1-2, channels 4-8' in message
    for part in expected:
        assert part in message
    assert len(message) < 1500


def test_the_modules_own_load_hooks_apply():
    net = Net(convnext())
    net.register_load_state_dict_pre_hook(
        lambda module, state, prefix, *_: state.setdefault('stages.0.0.grn.gamma', torch.ones(16))
    )
    state = convnext()
    del state['stages.0.0.grn.gamma']
    load_state_dict_strictly(net, state, source='x.pth')
    assert net.stages._modules['0']._modules['0'].grn.gamma.eq(1).all()
