import contextlib
import json

import pytest
from mmengine.config import Config

from mmvideomac.checkpoint.encoder_config import read_saved_config, saved_config
from mmvideomac.utils.config import find_config


@pytest.mark.parametrize('name', ['videomac_cnxv2s_iso_yt18.py', 'benchmarks/jhmdb/dino.py'])
def test_as_mmengine_saves_it(name):
    config = Config.fromfile(find_config(f'mmvideomac::{name}'))
    config.model.weights = {'not-an-identifier': [(1, -2.5)], 'empty': dict(a={})}
    assert read_saved_config(config.pretty_text) == config.to_dict()


def test_code_is_not_run(tmp_path):
    made = str(tmp_path / 'made')
    text = f'import os\nos.mkdir({made!r})\na = dict(b=os.mkdir({made!r}))\nc = dict(d=1)'
    assert read_saved_config(text) == dict(c=dict(d=1))
    assert not (tmp_path / 'made').exists()


def test_no_config():
    with pytest.raises(ValueError, match='saved config cannot be read'):
        read_saved_config('a = (')


def test_the_config_of_a_checkpoint():
    assert saved_config({}) is None
    assert saved_config(dict(cfg="model = dict(backbone=dict(type='VGG'))")) == dict(
        model=dict(backbone=dict(type='VGG'))
    )
    published = dict(target='mmpretrain', encoder='{"type": "VGG"}')
    assert saved_config(published) == dict(model=dict(backbone=dict(type='VGG')))


@pytest.mark.parametrize(
    'name', ['subprocess.Popen', 'os', 'mmpretrain.get_model', 'torch.nn.Linear', 5]
)
def test_an_encoder_is_no_code_to_call(name):
    """mmengine's registries import whatever has a dotted name."""
    for backbone in (dict(type=name), dict(type='VGG', norm_cfg=[dict(type=name)])):
        for meta in (
            dict(cfg=f'model = dict(backbone={backbone})'),
            dict(target='mmpretrain', encoder=json.dumps(backbone)),
        ):
            with pytest.raises(ValueError, match='no part of a network that is known here'):
                saved_config(meta)


def test_damaged_settings():
    for cfg in (
        'a = ' + '[' * 10**5,
        'a = {[]}',
        'a = dict(**b)',
        '\0',
        'a = ' + '-' * 10**5 + '1',
    ):
        with contextlib.suppress(ValueError):
            assert saved_config(dict(cfg=cfg)) == {}
    for meta in (
        dict(cfg='model = 5'),
        dict(cfg='model = dict(backbone=[])'),
        dict(target='mmpretrain', encoder='[' * 10**5),
        dict(cfg=' ' * 2**23),
    ):
        with pytest.raises(ValueError):
            saved_config(meta)
