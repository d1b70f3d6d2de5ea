"""tools/evaluate_knn.py."""

import json
import shutil

import pytest
import torch

from tests.test_finetuning.photos import load, set_data, write_checkpoint, write_photos
from tests.test_tools.tools import load_tool


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    root = write_photos(tmp_path_factory.mktemp('photos'), splits=('train',))
    shutil.copytree(root / 'train', root / 'val')
    return root


@pytest.fixture
def config(photos, tmp_path):
    cfg = load('image_folder/cnxv2a_finetune')
    set_data(cfg, photos)
    for transform in cfg.val_dataloader.dataset.pipeline:
        for key in {'scale', 'crop_size'} & set(transform):
            transform[key] = 32
    # Random norms would make all images alike.
    torch.manual_seed(0)
    write_checkpoint(tmp_path / 'pretrained.pth', cfg.model.backbone, lambda encoder, _: encoder)
    cfg.dump(tmp_path / 'config.py')
    return str(tmp_path / 'config.py')


def run(*args):
    return load_tool('evaluate_knn').main([str(arg) for arg in args])


def test_encoders_in_one_table(config, tmp_path, capsys):
    path, out = tmp_path / 'pretrained.pth', tmp_path / 'new' / 'knn.json'
    assert run(config, path, 'random', '--k', 1, 5, '--json', out) == 0
    trained, random = json.loads(out.read_text())
    # The same images are in both splits: the nearest one is the image itself.
    assert trained == dict(
        checkpoint=str(path), train_images=15, val_images=15, top1_k1=100, top1_k5=100
    )
    assert random['checkpoint'] == 'random' and random['top1_k1'] == 100
    assert f'| {path} | 15, 15 | 100.0 | 100.0 |' in capsys.readouterr().out
    assert run(config, path, '--k', 1, '--network', 'target') == 0


def test_other_images(config, tmp_path, capsys):
    write_photos(tmp_path / 'more', splits=('.',), count=10)
    assert run(config, 'random', '--data', tmp_path / 'more', '--k', 1) == 0
    assert '| random | 24, 6 |' in capsys.readouterr().out


@pytest.mark.parametrize(
    'args, message',
    [
        (['none.py', 'random'], 'the config none.py does not exist'),
        (['{config}', 'none.pth'], 'the checkpoint none.pth does not exist'),
        (['{config}', 'random', '--data', '/none'], '/none does not exist: set data_root'),
        (['{config}', 'random', '--k', '99'], '99 neighbours of only 15 training images'),
        (['{config}', 'random', '--k', '0'], '--k and --temperature must be positive'),
    ],
)
def test_bad_arguments_are_one_message(config, capsys, args, message):
    assert run(*[arg.format(config=config) for arg in args]) == 1
    error = capsys.readouterr().err
    assert error.startswith('tools/evaluate_knn.py: ') and message in error


def test_checkpoint_of_another_encoder(config, tmp_path, capsys):
    path = write_checkpoint(
        tmp_path / 'v1.pth', dict(load('imagenet/cnxv1t_finetune').model.backbone)
    )
    assert run(config, path, '--k', 1) == 1
    assert 'it holds: ConvNeXt V1' in capsys.readouterr().err
