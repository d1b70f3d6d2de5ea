"""What a fine-tuning may start from, and on which classes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mmvideomac.engine import ClassCountCheckHook, PretrainedCheckHook, ResumableTrainLoop
from mmvideomac.engine.hooks.finetune_check_hooks import check_pretrained
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


def dataset(classes=None, labels=()):
    metainfo = {} if classes is None else dict(classes=tuple(classes))
    return SimpleNamespace(metainfo=metainfo, get_gt_labels=lambda: np.array(labels))


def check_classes(train, head, one_hot=None, val=None):
    val = train if val is None else val
    runner = SimpleNamespace(
        model=SimpleNamespace(
            head=SimpleNamespace(num_classes=head),
            data_preprocessor=SimpleNamespace(num_classes=one_hot),
        ),
        train_dataloader=SimpleNamespace(dataset=train),
        val_dataloader=SimpleNamespace(dataset=val),
        val_loop=val,
    )
    ClassCountCheckHook().before_train(runner)


def test_what_agrees():
    check_classes(dataset('abc'), 3, 3)
    check_classes(dataset('abc'), 3)
    check_classes(dataset(labels=[0, 2, 1, 2]), 3)


@pytest.mark.parametrize(
    'head, one_hot, expected',
    [
        (1000, None, 'model.head.num_classes is 1000: set model.head.num_classes=6 '),
        (6, 5, 'data_preprocessor.num_classes is 5: set data_preprocessor.num_classes=6 '),
        (2, 2, ': set model.head.num_classes=6 data_preprocessor.num_classes=6 '),
    ],
)
def test_another_count_is_named_with_its_remedy(head, one_hot, expected):
    with pytest.raises(ValueError) as error:
        check_classes(dataset('abcdef'), head, one_hot)
    assert 'the training data has 6 classes (a, b, c, d, ...)' in str(error.value)
    assert expected in str(error.value)


def test_validation_has_the_same_classes():
    with pytest.raises(ValueError, match=r'\(2: a, c\) are not those of the training data \(2: a'):
        check_classes(dataset('ab'), 2, val=dataset('ac'))
