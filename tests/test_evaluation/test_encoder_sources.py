"""Encoders by one string."""

import sys
import types

import numpy as np
import pytest
import timm
import torch
from mmengine.registry import DefaultScope

from mmvideomac.engine.launch import prepare_test
from mmvideomac.evaluation import LabelPropagation
from mmvideomac.evaluation.benchmark import evaluate, load_weights
from mmvideomac.evaluation.compare import benchmark_config
from mmvideomac.evaluation.encoder_sources import EncoderSource, parse_encoder, unique_names
from mmvideomac.registry import MODELS
from mmvideomac.utils.errors import UserError
from tests.test_evaluation.clips import square_clip, write_davis
from tests.test_models.utils import ARCH, randomize

PIXELS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
VIT = dict(stage=-1, stride=None, stride_method='native')
CONFIG = """
model = dict(
    type='VideoMAC',
    data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]),
    backbone=dict(type='SparseConvNeXtV2', arch=ARCH),
)
""".replace('ARCH', repr(ARCH))
VIT_CONFIG = """
model = dict(backbone=dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=224))
"""


def build(source):
    """The model, with its weights."""
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        model = LabelPropagation(**source.model)
    load_weights(model, source.weights)
    return model.eval()


def frame(height=60, width=90):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'method.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def checkpoint(tmp_path):
    """Of pre-training, as mmengine writes it."""
    backbone = dict(type='SparseConvNeXtV2', arch=ARCH)
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        encoder = randomize(MODELS.build(backbone))
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(meta=dict(cfg=CONFIG), state_dict=state), path)
    return str(path)


def test_a_checkpoint_holds_its_config(checkpoint):
    source = parse_encoder(checkpoint)
    backbone = dict(type='SparseConvNeXtV2', arch=ARCH)
    pixels = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    assert source == EncoderSource(
        spec=checkpoint,
        name='epoch_1.pth',
        model=dict(backbone=backbone, **pixels),
        weights=checkpoint,
        checkpoint=checkpoint,
    )
    assert build(source).encode(frame()).shape == (16, 8, 12)


def test_a_config_and_weights(config, checkpoint):
    source = parse_encoder(f'{config}:{checkpoint}')
    assert source.name == 'method.py:epoch_1.pth' and source.checkpoint == checkpoint
    of_checkpoint = parse_encoder(checkpoint)
    assert source.model == of_checkpoint.model
    assert torch.equal(build(source).encode(frame()), build(of_checkpoint).encode(frame()))
    random = parse_encoder(f'{config}:random')
    assert (random.weights, random.checkpoint, random.name) == ('random', None, 'method.py:random')
    remote = parse_encoder(f'{config}:https://host/epoch_1.pth')
    assert remote.weights == 'https://host/epoch_1.pth'


def test_shipped_configs():
    source = parse_encoder('mmvideomac::videomac_rn18_yt18.py:random')
    assert source.model['backbone']['type'] == 'SparseResNet' and source.model['mean']
    benchmark = parse_encoder('mmvideomac::benchmarks/davis2017/videomac.py:random@stage=2')
    assert benchmark.model['stride_method'] == 'enlarged_input'
    assert benchmark.model['stage'] == 2 and 'task' not in benchmark.model


def test_names_of_ours():
    source = parse_encoder('convnextv2_atto:random')
    assert source.model == dict(backbone=dict(type='SparseConvNeXtV2', arch='atto'))
    assert source.weights == 'random' and source.is_hierarchical


@pytest.mark.parametrize(
    'spec, weights, is_hierarchical',
    [
        ('timm:resnet10t', 'pretrained', True),
        ('timm:resnet10t:random', 'random', True),
        ('torchvision:resnet18', 'pretrained', True),
        ('torchvision:vit_b_16:random', 'random', False),
    ],
)
def test_libraries(spec, weights, is_hierarchical):
    source = parse_encoder(spec)
    library, name = spec.split(':')[:2]
    kind = dict(timm='TimmEncoder', torchvision='TorchvisionEncoder')[library]
    expected = dict(backbone=dict(type=kind, name=name), **PIXELS)
    assert source.model == (expected if is_hierarchical else expected | VIT)
    assert source.weights == weights and source.checkpoint is None and source.name == spec
    assert source.is_hierarchical == is_hierarchical


def test_pixels_are_those_of_the_weights():
    source = parse_encoder('timm:vit_tiny_patch16_224')
    assert source.model['mean'] == source.model['std'] == [127.5] * 3


def test_mmpretrain():
    source = parse_encoder('mmpretrain:resnet18_8xb32_in1k')
    assert source.model['backbone']['type'] == 'ResNet' and source.model['mean'] == PIXELS['mean']
    assert source.weights.startswith('https://') and 'bgr' not in source.model
    model = build(parse_encoder('mmpretrain:resnet18_8xb32_in1k:random'))
    assert model.encode(frame()).shape == (256, 8, 12)
    source = parse_encoder('mmpretrain:deit-tiny_4xb256_in1k:random')
    assert not source.is_hierarchical
    assert build(source).encode(frame()).shape == (192, 4, 6)


def test_mmpretrain_of_bgr():
    source = parse_encoder('mmpretrain:regnetx-400mf_8xb128_in1k:random')
    assert source.model['bgr'] and source.model['mean'] == PIXELS['mean'][::-1]
    model = build(source)
    pixels = torch.from_numpy(frame()[..., ::-1].copy()).permute(2, 0, 1)
    mean, std = (torch.tensor(PIXELS[key][::-1])[:, None, None] for key in ('mean', 'std'))
    expected = model.extractor((pixels - mean) / std)
    torch.testing.assert_close(model.encode(frame()), expected)


def test_the_weights_of_mmpretrain_cannot_be_downloaded(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', fail)
    message = r'pth cannot be downloaded \(no route to host\): give a file instead'
    with pytest.raises(ValueError, match=message):
        build(parse_encoder('mmpretrain:resnet18_8xb32_in1k'))


def test_colours():
    assert parse_encoder('color').weights == 'color'
    assert parse_encoder('color@stride=4').model == dict(stride=4)


def test_settings():
    source = parse_encoder(
        'timm:resnet10t:random@stage=2+3,stride=8,stride_method=resample,network=target,name=mine'
    )
    assert source.name == 'mine' and source.weights == 'random'
    settings = dict(stage=[2, 3], stride=8, stride_method='resample', network='target')
    assert source.model.items() >= settings.items()
    assert set(source.given) == set(settings)
    assert parse_encoder('timm:resnet10t:random@stage=-1').model['stage'] == -1


def test_files_may_have_an_at_sign(tmp_path, checkpoint):
    path = tmp_path / 'a@b.pth'
    (tmp_path / 'epoch_1.pth').rename(path)
    assert parse_encoder(str(path)).checkpoint == str(path)


def test_settings_of_a_tool():
    convnet = parse_encoder('timm:resnet10t:random@stride=4')
    model = convnet.with_defaults(stage=2, stride=8, stride_method=None).model
    assert (model['stage'], model['stride']) == (2, 4) and 'stride_method' not in model
    vit = parse_encoder('timm:vit_tiny_patch16_224:random')
    assert vit.model.items() >= VIT.items()
    assert vit.with_defaults(stage=2).model == vit.model
    finer = vit.with_defaults(stage=2, stride=8).model
    assert (finer['stage'], finer['stride']) == (-1, 8)
    assert 'stride_method' not in finer  # that of the benchmark
    at_eight = parse_encoder('timm:vit_tiny_patch16_224:random@stride=8')
    assert at_eight.model == finer
    told = parse_encoder('timm:vit_tiny_patch16_224:random@stride_method=resample,stage=6')
    told = told.with_defaults(stage=2, stride=8).model
    assert (told['stage'], told['stride_method']) == (6, 'resample')


def test_names_for_tables(config):
    specs = [
        'color',
        'color@stride=4',
        'timm:resnet10t:random@name=mine',
        f'{config}:random',
        'mmvideomac::videomac_rn18_yt18.py:random',
    ]
    sources = unique_names([parse_encoder(spec) for spec in specs])
    assert [source.name for source in sources] == [
        'color',
        'color@stride=4',
        'mine',
        'method.py:random',
        'mmvideomac::videomac_rn18_yt18.py:random',
    ]
    runs = [EncoderSource(f'runs/{run}/epoch_1.pth', 'epoch_1.pth', {}, 'random') for run in 'ab']
    assert [s.name for s in unique_names(runs)] == ['a/epoch_1.pth', 'b/epoch_1.pth']
    with pytest.raises(UserError, match='mine is given twice'):
        unique_names([parse_encoder(specs[2])] * 2)


@pytest.mark.parametrize(
    'spec, message',
    [
        ('convnextv2_tny:random', 'unknown encoder .* do you mean convnextv2_tiny'),
        ('convnextv2_tiny', 'give the weights too, convnextv2_tiny:CHECKPOINT or'),
        ('random', "unknown encoder 'random': .* CONFIG:random"),
        ('timm:resnet_50', "timm has no model 'resnet_50': do you mean"),
        ('torchvision:resnet49:random', "torchvision has no model 'resnet49': do you mean"),
        ('mmpretrain:resnet18', "mmpretrain has no model 'resnet18': do you mean"),
        ('timm:vit_small_patch16_224.dinosaur', 'do you mean vit_small_patch16_224.dino'),
        ('timm:test_nothing', 'timm has no model'),
        ('timm:resnet18:missing.pth', 'the checkpoint missing.pth does not exist'),
        ('missing.pth', 'the checkpoint missing.pth does not exist'),
        ('missing.py:random', 'the config missing.py does not exist'),
        ('mmvideomac::videomac_rn18.py:random', "no config 'videomac_rn18.py'; do you mean"),
        ('mmvideomac::videomac_rn18_yt18.py', 'give the weights too'),
        ('mmvideomac::videomac_rn18_yt18.py:no.pth', 'the checkpoint no.pth does not exist'),
        ('https://host/epoch_1.pth', 'CONFIG:https://host/epoch_1.pth'),
        ('color@stage=3', 'colours have no stage'),
        ('timm:resnet10t@stages=3', "unknown setting 'stages': do you mean stage"),
        ('timm:resnet10t@stage=three', "stage must be 3 or 2\\+3, not 'three'"),
        ('timm:resnet10t@stride=0', 'stride must be 8'),
        ('timm:resnet10t@stride_method=magic', 'stride_method must be one of native'),
        ('timm:resnet10t@network=other', 'network must be one of online, target'),
        ('timm:resnet10t@name=', 'name must be a name'),
    ],
)
def test_one_clear_message(spec, message):
    with pytest.raises(UserError, match=message) as error:
        parse_encoder(spec)
    assert '\n' not in str(error.value)


def test_files_that_are_no_encoder(config, checkpoint, tmp_path):
    bare = tmp_path / 'bare.pth'
    torch.save(timm.create_model('resnet10t').state_dict(), bare)
    with pytest.raises(UserError, match=r'bare\.pth holds no config .* give CONFIG:'):
        parse_encoder(str(bare))
    with pytest.raises(ValueError, match=r'bare\.pth holds no usable encoder'):
        build(parse_encoder(f'{config}:{bare}'))
    with pytest.raises(ValueError, match=r'epoch_1\.pth holds no usable encoder'):
        build(parse_encoder(f'timm:vit_tiny_patch16_224:{checkpoint}'))
    other = dict(meta=dict(cfg="model = dict(type='Other', encoder=dict())"), state_dict={})
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(UserError, match=r'other\.pth has no model\.backbone'):
        parse_encoder(str(tmp_path / 'other.pth'))
    other['meta']['cfg'] = "model = dict(backbone=dict(type='Unheard'))"
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(UserError, match="'Unheard', which is no part of a network"):
        parse_encoder(str(tmp_path / 'other.pth'))
    torn = tmp_path / 'torn.pth'
    torn.write_bytes(bare.read_bytes()[:1000])
    for spec in (str(torn), f'timm:resnet10t:{torn}', f'{config}:{torn}'):
        with pytest.raises(UserError, match=r'torn\.pth is incomplete'):
            parse_encoder(spec)


def test_checkpoints_of_projects(checkpoint, tmp_path, monkeypatch):
    """Their components are imported, and nothing that a checkpoint could bring along."""
    content = torch.load(checkpoint)
    imports = "custom_imports = dict(imports=['projects.{}', 'antigravity'])\n"
    content['meta']['cfg'] = imports.format('made_up') + CONFIG
    torch.save(content, checkpoint)
    with pytest.raises(UserError, match=r'trained with projects\.made_up, which is not here'):
        parse_encoder(checkpoint)
    monkeypatch.setitem(sys.modules, 'projects', types.ModuleType('projects'))
    monkeypatch.setitem(sys.modules, 'projects.made_up', types.ModuleType('projects.made_up'))
    monkeypatch.delitem(sys.modules, 'antigravity', raising=False)
    assert parse_encoder(checkpoint).checkpoint == checkpoint
    assert 'antigravity' not in sys.modules


def test_no_weights_are_read(config, tmp_path):
    file = tmp_path / 'weights.pth'
    file.write_bytes(b'of any kind')
    for spec in (f'timm:resnet10t:{file}', f'{config}:{file}', f'torchvision:resnet18:{file}'):
        assert parse_encoder(spec).weights == str(file)


def test_dinos_vit_is_the_same_in_timm_and_here(tmp_path):
    """At the size of its positions: in between, the libraries interpolate differently."""
    model = randomize(timm.create_model('vit_tiny_patch16_224', num_classes=0))
    teacher = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    torch.save(dict(teacher=teacher | {'head.last.weight': torch.ones(2)}), tmp_path / 'dino.pth')
    (tmp_path / 'vit.py').write_text(VIT_CONFIG)
    pixels = dict(mean=[127.5] * 3, std=[127.5] * 3)
    ours = parse_encoder(f'{tmp_path}/vit.py:{tmp_path}/dino.pth')
    ours.model.update(pixels)
    theirs = parse_encoder(f'timm:vit_tiny_patch16_224:{tmp_path}/dino.pth')
    assert not ours.is_hierarchical and theirs.model.items() >= pixels.items()
    frames, masks = square_clip(3)
    results = []
    for source in (ours, theirs):
        source.model.update(protocol='dino', input_size=224)
        model = build(source)
        features = model.encode(frame(224, 224))
        clip = [np.pad(f, ((0, 32), (0, 0), (0, 0))) for f in frames]
        labels = list(model.follow_masks(clip, np.pad(masks[0], ((0, 32), (0, 0)))))
        results.append((features, torch.stack(labels)))
    (a, labels), (b, expected) = results
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    assert torch.equal(labels, expected) and labels[2].any()


@pytest.mark.parametrize('spec', ['timm:resnet10t:random@stride=16', 'color'])
def test_from_a_string_to_a_score(spec, tmp_path):
    write_davis(tmp_path / 'davis', clips=1)
    source = parse_encoder(spec)
    results = []
    for _ in range(2):
        dataset = dict(data_root=str(tmp_path / 'davis'), max_frames=3)
        cfg = benchmark_config('davis', 'crw', source.model, dataset)
        cfg.work_dir = str(tmp_path / 'work')
        cfg.test_evaluator.out_dir = None
        prepare_test(cfg)
        results.append(evaluate(cfg, source.weights))
    assert results[0] == results[1] and results[0].metrics['davis/J&F'] > 0
    assert results[0].error is None
