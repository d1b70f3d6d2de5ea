from pathlib import Path

import pytest
from mmengine.config import Config

from mmvideomac.utils.config import config_folder, differences, find_config, load_config
from mmvideomac.utils.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs'


def inherit(folder, base):
    path = folder / 'child.py'
    path.write_text(f'_base_ = {base!r}\n')
    return Config.fromfile(path)


def test_in_a_repository_its_own_configs_are_used():
    assert config_folder() == CONFIGS


@pytest.mark.parametrize(
    'name', ['videomac_rn18_yt18.py', 'benchmarks/vip/dino.py', '_base_/default_runtime.py']
)
def test_inherited_as_if_it_lay_in_the_same_folder(tmp_path, name):
    child = inherit(tmp_path, f'mmvideomac::{name}')
    assert child.to_dict() == Config.fromfile(CONFIGS / name).to_dict()


def test_with_other_bases(tmp_path):
    (tmp_path / 'own.py').write_text('work_dir = "runs"\n')
    child = inherit(tmp_path, ['mmvideomac::videomac_cnxv2t_yt18.py', 'own.py'])
    assert (child.model.backbone.arch, child.work_dir) == ('tiny', 'runs')


def test_bases_of_other_packages_are_still_found(tmp_path):
    child = inherit(tmp_path, 'mmpretrain::_base_/models/resnet18.py')
    assert child.model.backbone.depth == 18


@pytest.mark.parametrize(
    'name, advice',
    [
        ('videomac_cnxv2s_yt19.py', r'do you mean .*mmvideomac::videomac_cnxv2s_yt18\.py'),
        ('nothing alike', f'see {CONFIGS}'),
    ],
)
def test_no_such_config(tmp_path, name, advice):
    with pytest.raises(FileNotFoundError, match=advice) as error:
        inherit(tmp_path, f'mmvideomac::{name}')
    assert repr(name) in str(error.value)
    with pytest.raises(FileNotFoundError):
        find_config(f'mmvideomac::{name}')


def test_options_override(tmp_path):
    (tmp_path / 'base.py').write_text('model = dict(a=1, b=2)')
    path = tmp_path / 'child.py'
    path.write_text("_base_ = 'base.py'\nmodel = dict(b=3)")
    assert load_config(path).model == dict(a=1, b=3)
    assert load_config(path, {'model.a': 5}).model == dict(a=5, b=3)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'mine.py does not exist'),
        ('model = dict(', r"mine.py cannot be read: SyntaxError: '\(' was never closed"),
        ("_base_ = 'none.py'", 'mine.py cannot be read: FileNotFoundError: .*none.py'),
        ('a = {}["b"]\nimport os', "mine.py cannot be read: KeyError: 'b'"),
        ('model = dict(a=1)', "the config has no 'modle': did you mean model"),
    ],
)
def test_one_message(tmp_path, text, message):
    path = tmp_path / 'mine.py'
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_config(path, {'modle.a': 1})
    assert '\n' not in str(error.value)


def test_differences():
    old = dict(a=1, b=dict(c=(1, 2), d=None), e=[dict(f=1), dict(g=2)], h='text')
    new = dict(a=2, b=dict(c=[1, 2]), e=[dict(f=1), dict(g=3)], h='text', i=[4])
    assert differences(old, new) == {'a': (1, 2), 'e.1.g': (2, 3), 'i': (None, [4])}
