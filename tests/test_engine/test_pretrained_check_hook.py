"""What a fine-tuning may start from."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmvideomac.engine import PretrainedCheckHook, ResumableTrainLoop
from mmvideomac.engine.hooks.pretrained_check_hook import check_pretrained
from mmvideomac.models import SparseConvNeXt, SparseConvNeXtV2, SparseResNet
from tests.test_models.utils import ARCH, NARROW

ENCODERS = dict(
    v2=lambda **options: SparseConvNeXtV2(ARCH, **options),
    v1=lambda: SparseConvNeXt(ARCH),
    deeper=lambda: SparseConvNeXtV2(dict(ARCH, depths=[1, 3, 1, 1])),
    shallower=lambda: SparseConvNeXtV2(dict(ARCH, depths=[1, 1, 1, 1])),
    wider=lambda: SparseConvNeXtV2(dict(ARCH, channels=[8, 12, 16, 32])),
    resnet=lambda: SparseResNet(18, **NARROW),
)


def save(path, name='v2', prefixes=('backbone.', 'target.backbone.')):
    encoder = ENCODERS[name]().state_dict()
    state = {prefix + key: value for prefix in prefixes for key, value in encoder.items()}
    state['head.norm3.weight'] = torch.ones(3)
    torch.save(dict(state_dict=state), path)
    return str(path)


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone', 'target.backbone.'])
def test_the_encoder_of_a_pre_training_fits(prefix, tmp_path):
    encoder = ENCODERS['v2']()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    check_pretrained(encoder, save(tmp_path / 'x.pth'), prefix)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_output_norms_of_other_stages_are_free(tmp_path):
    path = save(tmp_path / 'x.pth')
    check_pretrained(ENCODERS['v2'](out_indices=(0, 1, 2, 3)), path, 'backbone.')
    check_pretrained(ENCODERS['v2'](out_indices=(1, 2)), path, 'backbone.')


def test_a_plain_state_dict_needs_no_prefix(tmp_path):
    check_pretrained(ENCODERS['v2'](), save(tmp_path / 'x.pth', prefixes=['']))


@pytest.mark.parametrize(
    'prefix, advice',
    [
        ('encoder.', "Set init_cfg.prefix to 'backbone.' or 'target.backbone.'."),
        (None, "Set init_cfg.prefix to 'backbone.' or 'target.backbone.'."),
        ('target.', "Set init_cfg.prefix to 'backbone.' or 'target.backbone.'."),
    ],
)
def test_wrong_prefix(prefix, advice, tmp_path):
    with pytest.raises(ValueError, match='would initialise nothing of model') as error:
        check_pretrained(ENCODERS['v2'](), save(tmp_path / 'x.pth'), prefix)
    assert advice in str(error.value) and 'x.pth' in str(error.value)


@pytest.mark.parametrize(
    'name, expected',
    [
        ('v1', 'it holds: ConvNeXt V1, depths 1-2-1-1'),
        ('deeper', 'it holds: ConvNeXt V2, depths 1-3-1-1'),
        ('shallower', 'it holds: ConvNeXt V2, depths 1-1-1-1'),
        ('wider', 'it holds: ConvNeXt V2, depths 1-2-1-1, channels 8-12-16-32'),
        ('resnet', 'it holds: ResNet of basic blocks, depths 2-2-2-2'),
    ],
)
def test_another_encoder(name, expected, tmp_path):
    with pytest.raises(ValueError) as error:
        check_pretrained(ENCODERS['v2'](), save(tmp_path / 'x.pth', name), 'backbone.')
    message = str(error.value)
    assert expected in message and 'ConvNeXt V2, depths 1-2-1-1, channels 8-12-16-24' in message
    assert 'x.pth' in message and len(message) < 1200


def test_files_at_fault(tmp_path):
    path = save(tmp_path / 'x.pth')
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        check_pretrained(ENCODERS['v2'](), str(tmp_path / 'none.pth'), 'backbone.')
    content = (tmp_path / 'x.pth').read_bytes()
    (tmp_path / 'x.pth').write_bytes(content[:2000])
    with pytest.raises(ValueError, match='is incomplete'):
        check_pretrained(ENCODERS['v2'](), path, 'backbone.')


@pytest.mark.parametrize('as_list', [False, True])
def test_hook_finds_every_pretrained_part(as_list, tmp_path):
    init = dict(type='Pretrained', checkpoint=save(tmp_path / 'x.pth'), prefix='wrong.')
    init = [dict(type='TruncNormal', layer='Linear'), init] if as_list else init
    model = nn.ModuleDict(dict(backbone=ENCODERS['v2'](init_cfg=init)))
    runner = SimpleNamespace(model=model, _train_loop=object.__new__(ResumableTrainLoop))
    with pytest.raises(ValueError, match=r"nothing of model\.backbone with prefix='wrong\.'"):
        PretrainedCheckHook().before_run(runner)
    runner._train_loop = dict(type='EpochBasedTrainLoop')  # as in a test, which starts from others
    PretrainedCheckHook().before_run(runner)
