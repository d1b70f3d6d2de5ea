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
    assert saved_config(dict(cfg="model = dict(backbone=dict(type='A'))")) == dict(
        model=dict(backbone=dict(type='A'))
    )
    published = dict(target='mmpretrain', encoder='{"type": "A"}')
    assert saved_config(published) == dict(model=dict(backbone=dict(type='A')))
