import hashlib
import json

import pytest
import timm
import torch
from mmpretrain.models.backbones import ConvNeXt
from safetensors import safe_open
from safetensors.torch import save_file

from mmvideomac import __version__
from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.export import import_weights, publish
from mmvideomac.engine.launch import adapt_to_cpu
from mmvideomac.models import VideoMAC
from mmvideomac.registry import MODELS
from tests.test_checkpoint.test_export.encoders import ARCH, V1, V2, random_encoder, randomized
from tests.test_engine.tiny import tiny_config, write_videos
from tests.test_engine.toy import train


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Of pre-training, its target another than the online network."""
    model = VideoMAC(backbone=V2, head=dict(type='MAEConvNeXtHead', in_channels=24, embed_dims=8))
    randomized(model.backbone, 1)
    randomized(model.target, 2)
    path = tmp_path_factory.mktemp('run') / 'epoch_3.pth'
    meta = dict(epoch=3, iter=12, experiment_name='tiny_1', cfg="data_root = '/home/me'")
    torch.save(dict(state_dict=model.state_dict(), meta=meta, optimizer=dict(a=1)), path)
    return path


def weights(checkpoint, prefix):
    state = torch.load(checkpoint)['state_dict']
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def read_both(published):
    with safe_open(published.safetensors, 'pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    pickled = torch.load(published.pth, weights_only=True)
    assert pickled['meta'] == metadata == published.metadata
    assert tensors.keys() == pickled['state_dict'].keys()
    assert all(torch.equal(tensors[k], v) for k, v in pickled['state_dict'].items())
    return tensors, metadata


@pytest.mark.parametrize(
    'network, prefix', [('online', 'backbone.'), ('target', 'target.backbone.')]
)
def test_files_and_metadata(checkpoint, tmp_path, network, prefix):
    started_from = dict(type='Pretrained', checkpoint='/home/me/start.pth')
    config = dict(V2, init_cfg=started_from)
    published = publish(config, checkpoint, tmp_path / 'new' / 'enc', 'mmpretrain', network)
    tensors, metadata = read_both(published)
    expected = weights(checkpoint, prefix)
    assert tensors.keys() == {f'backbone.{key}' for key in expected}
    assert all(torch.equal(tensors[f'backbone.{k}'], v) for k, v in expected.items())

    assert set((tmp_path / 'new').iterdir()) == {published.pth, published.safetensors}
    for path in (published.pth, published.safetensors):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.stem == f'enc-{digest[:8]}'
    assert json.loads(metadata['encoder']) == V2
    assert metadata['source_sha256'] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert float(metadata['feature_difference']) <= 1e-5
    subset = dict(
        target='mmpretrain',
        network=network,
        source='epoch_3.pth',
        epoch='3',
        iter='12',
        experiment_name='tiny_1',
        mmvideomac_version=__version__,
    )
    assert subset.items() <= metadata.items()
    assert '/home/me' not in str(metadata)

    again = publish(V2, checkpoint, tmp_path / 'new' / 'enc.pth', 'mmpretrain', network)
    assert (again.pth, again.safetensors) == (published.pth, published.safetensors)


def test_mmpretrain_loads_it_by_init_cfg(checkpoint, tmp_path):
    published = publish(V2, checkpoint, tmp_path / 'enc')
    config = eval(published.metadata['model'])
    assert config['type'] == 'mmpretrain.ConvNeXt'
    pretrained = dict(type='Pretrained', checkpoint=str(published.pth), prefix='backbone.')
    model = MODELS.build(dict(config, init_cfg=pretrained))
    assert type(model) is ConvNeXt
    model.init_weights()
    expected = weights(checkpoint, 'backbone.')
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items())


def test_timm_loads_it_by_checkpoint_path(checkpoint, tmp_path):
    published = publish(V2, checkpoint, tmp_path / 'enc', 'timm', 'target')
    encoder = build_encoder(V2)
    encoder.load_state_dict(weights(checkpoint, 'target.backbone.'))
    encoder.double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    sizes = dict(depths=ARCH['depths'], dims=ARCH['channels'])
    for path in (published.safetensors, published.pth):
        model = timm.create_model(
            'convnextv2_tiny', num_classes=0, global_pool='', checkpoint_path=str(path), **sizes
        )
        model.double().eval()
        with torch.no_grad():
            torch.testing.assert_close(model(images), encoder(images)[0])


def test_there_and_back_in_files(tmp_path):
    """timm -> ours -> timm, by way of the files."""
    model = randomized(timm.create_model('convnextv2_atto', num_classes=7), 5)
    config = dict(type='SparseConvNeXtV2', arch='atto')
    save_file(model.state_dict(), tmp_path / 'model.safetensors')
    difference = import_weights(
        config, tmp_path / 'model.safetensors', tmp_path / 'a' / 'ours.pth', 'timm'
    )
    assert difference <= 1e-5
    published = publish(config, tmp_path / 'a' / 'ours.pth', tmp_path / 'enc', 'timm')
    tensors, _ = read_both(published)
    expected = {k: v for k, v in model.state_dict().items() if not k.startswith('head.fc.')}
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[key], value) for key, value in expected.items())
    # What pre-training starts from.
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'a' / 'ours.pth'))
    encoder = build_encoder(dict(config, init_cfg=dict(pretrained, prefix='backbone.')))
    encoder.init_weights()
    stem = encoder.downsample_layers[0][0].weight
    assert torch.equal(stem, model.stem[0].weight)


def test_of_a_whole_run(tmp_path):
    """As mmengine's Runner saves it, message hub and all."""
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')
    cfg = tiny_config(tmp_path / 'videos', workers=0, work_dir=str(tmp_path / 'run'))
    adapt_to_cpu(cfg)
    train(cfg)
    backbone = cfg.model.backbone.to_dict()
    published = publish(backbone, tmp_path / 'run' / 'epoch_1.pth', tmp_path / 'enc', 'timm')
    assert published.metadata['epoch'] == '1'
    assert published.pth.is_file()


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, ('evil',)


def test_unsafe_pickles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {f'backbone.{k}': v for k, v in build_encoder(V2).state_dict().items()}
    torch.save(dict(state_dict=state, meta=dict(hook=Evil())), 'unsafe.pth')
    message = r'^unsafe\.pth holds more than weights: a pickled \w+\.mkdir, which was not loaded'
    with pytest.raises(ValueError, match=message) as error:
        publish(V2, 'unsafe.pth', 'out')
    assert '\n' not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['unsafe.pth']


@pytest.mark.parametrize(
    'config, target, network, message',
    [
        (V1, 'timm', 'online', r'epoch_3\.pth does not fit the model'),
        (
            dict(V2, arch=dict(depths=[1, 2, 3, 1], channels=ARCH['channels'])),
            'timm',
            'online',
            'depths 1-2-1-1',
        ),
        (dict(type='SparseResNet', depth=18), 'timm', 'online', 'holds no usable encoder'),
        (V2, 'torchvision', 'online', 'torchvision has ConvNeXt V1 only'),
        (dict(V2, act_cfg=dict(type='ReLU')), 'timm', 'target', 'other features than the encoder'),
    ],
)
def test_nothing_is_written_on_failure(checkpoint, tmp_path, config, target, network, message):
    with pytest.raises(ValueError, match=message):
        publish(config, checkpoint, tmp_path / 'enc', target, network)
    assert not list(tmp_path.iterdir())


def test_no_target_network(tmp_path):
    state = {f'backbone.{k}': v for k, v in random_encoder(V2).state_dict().items()}
    torch.save(state, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'x\.pth holds no target network'):
        publish(V2, tmp_path / 'x.pth', tmp_path / 'enc', network='target')
