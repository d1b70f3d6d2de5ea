"""tools/model_converters/publish_model.py and import_model.py, as a user starts them."""

import json
import re
import shlex

import pytest
import torch
import yaml

from mmvideomac.checkpoint.encoder_config import build_encoder
from tests.test_checkpoint.test_export.encoders import V1, random_encoder
from tests.test_engine.tiny import REPOSITORY
from tests.test_tools.tools import load_tool


@pytest.fixture
def run():
    return dict(
        publish=load_tool('model_converters/publish_model').main,
        import_=load_tool('model_converters/import_model').main,
    )


@pytest.fixture
def files(tmp_path):
    """A config, and a checkpoint of its encoder."""
    config, checkpoint = tmp_path / 'tiny.py', tmp_path / 'epoch_1.pth'
    config.write_text(f'model = dict(backbone={V1!r})\n')
    state = {f'backbone.{k}': v for k, v in random_encoder(V1).state_dict().items()}
    torch.save(dict(state_dict=state), checkpoint)
    return str(config), str(checkpoint)


@pytest.mark.parametrize('target', ['timm', 'torchvision', 'mmpretrain'])
def test_there_and_back(run, files, tmp_path, capsys, target):
    config, checkpoint = files
    run['publish']([config, checkpoint, str(tmp_path / 'enc'), '--target', target])
    safetensors, pth, *usage = capsys.readouterr().out.splitlines()
    assert usage[0].startswith('Features as those of the encoder, to ')
    for source in (safetensors, pth):
        ours = tmp_path / 'our file.pth'
        run['import_']([config, source, str(ours), '--source', target])
        command = shlex.split(capsys.readouterr().out.splitlines()[-1])
        assert f'model.backbone.init_cfg.checkpoint={ours}' in command
        state = torch.load(ours, weights_only=True)['state_dict']
        expected = torch.load(checkpoint)['state_dict']
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize('target', ['timm', 'torchvision', 'mmpretrain'])
def test_the_printed_code_loads_the_file(run, files, tmp_path, capsys, target):
    config, checkpoint = files
    run['publish']([config, checkpoint, str(tmp_path / "an author's enc"), '--target', target])
    code = capsys.readouterr().out.split('\n\n')[1]
    names = {}
    imports = (
        'import timm, torch, torchvision\n'
        'from torchvision.models.convnext import CNBlockConfig\n'
        'from mmpretrain.registry import MODELS\n'
    )
    if target == 'mmpretrain':
        code = (
            f'model = dict({code})["backbone"]\nmodel = MODELS.build(model)\nmodel.init_weights()'
        )
    exec(imports + code, names)
    model = names['model']
    model.eval()
    encoder = build_encoder(V1)
    state = torch.load(checkpoint)['state_dict']
    encoder.load_state_dict({k.removeprefix('backbone.'): v for k, v in state.items()})
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        if target == 'torchvision':
            out = model.classifier[0](model.features(images))
        else:
            out = model(images)
        out = out[-1] if isinstance(out, tuple) else out
        assert torch.allclose(out, encoder(images)[0], atol=1e-4)


def test_options_and_configs_of_the_repository(run, tmp_path, capsys):
    arch = dict(type='SparseConvNeXtV2', arch='atto')
    state = {f'backbone.{k}': v for k, v in build_encoder(arch).state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    config = str(REPOSITORY / 'configs/videomac_cnxv2s_yt18.py')
    command = [config, str(tmp_path / 'x.pth'), str(tmp_path / 'enc'), '--target', 'timm']
    run['publish']([*command, '--cfg-options', 'model.backbone.arch=atto'])
    assert "timm.create_model('convnextv2_atto'" in capsys.readouterr().out


def test_errors_are_one_message(run, files, tmp_path, capsys):
    config, checkpoint = files
    out = str(tmp_path / 'enc')
    empty = tmp_path / 'empty.py'
    empty.write_text('model = dict(type="X")')
    other = tmp_path / 'v2.py'
    other.write_text("model = dict(backbone=dict(type='SparseConvNeXtV2', arch='atto'))")
    for tool, command, message in (
        ('publish', ['none.py', checkpoint, out], r'publish_model\.py: the config none\.py does'),
        ('publish', [config, 'none.pth', out], r'publish_model\.py: the checkpoint none\.pth does'),
        ('publish', [str(empty), checkpoint, out], r'empty\.py has no model\.backbone'),
        ('publish', [str(other), checkpoint, out], r'epoch_1\.pth holds no usable encoder'),
        ('import_', [config, checkpoint, out, '--source', 'timm'], r'import_model\.py: .*epoch_1'),
    ):
        assert run[tool](command) == 1
        assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.glob('enc*'))


def test_card_and_row(run, files, tmp_path, capsys):
    config, checkpoint = files
    scores, metafile = tmp_path / 'results.json', tmp_path / 'metafile.yml'
    row = dict(weights=checkpoint, task='vip', setting='videomac', clips=1, error=None)
    scores.write_text(json.dumps([dict(row, metrics={'vip/mIoU': 33.3})]))
    metafile.write_text('Models:\n  - Name: other\n')
    options = ['--scores', str(scores), '--license', 'CC0', '--metafile', str(metafile)]
    assert run['publish']([config, checkpoint, str(tmp_path / 'enc'), *options]) == 0
    (card,) = tmp_path.glob('enc-*.md')
    printed = capsys.readouterr().out
    assert f'Model card: {card}.' in printed
    assert 'mIoU 33.3' in card.read_text() and 'CC0' in card.read_text()
    rows = {row['Name']: row for row in yaml.safe_load(metafile.read_text())['Models']}
    assert rows['enc']['Weights'] == card.with_suffix('.pth').name
    assert rows['enc'] == yaml.safe_load(printed.split('index:\n\n')[1])[0]


def test_scores_of_another_checkpoint(run, files, tmp_path, capsys):
    config, checkpoint = files
    (tmp_path / 'results.json').write_text('[]')
    options = ['--scores', str(tmp_path / 'results.json')]
    assert run['publish']([config, checkpoint, str(tmp_path / 'enc'), *options]) == 1
    assert 'the scores are not of' in capsys.readouterr().err
    assert not list(tmp_path.glob('enc*'))
