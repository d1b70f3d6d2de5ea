"""tools/analysis_tools/get_flops.py: the table, the files, and its one-line errors."""

import json
import re

import pytest

from tests.test_engine.tiny import REPOSITORY, tiny_config
from tests.test_tools.tools import failure, load_tool


@pytest.fixture
def config(tmp_path):
    cfg = tiny_config('none')
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.model.masker = dict(type='SymmetricRandomMask', mask_ratio=0.75)
    cfg.dump(tmp_path / 'tiny.py')
    return str(tmp_path / 'tiny.py')


def test_table_and_files(config, tmp_path, capsys):
    main = load_tool('analysis_tools/get_flops').main
    outputs = dict(json=tmp_path / 'new/cost.json', markdown=tmp_path / 'cost.md')
    main([config, '--shape', '128', '--json', str(outputs['json'])])
    (row,) = json.loads(outputs['json'].read_text())
    assert row['config'] == config and row['shape'] == [128, 128] and row['visible'] == 0.25
    files = [word for name, path in outputs.items() for word in (f'--{name}', str(path))]
    main([config, '--shape', '64', '128', '--mask-ratio', '0.5', *files])
    (other,) = json.loads(outputs['json'].read_text())
    assert other['shape'] == [64, 128] and other['visible'] == 0.5
    assert other['dense_flops'] * 2 == row['dense_flops']
    assert other['params'] == row['params']
    text = outputs['markdown'].read_text()
    assert text in capsys.readouterr().out
    heading, _, line = text.splitlines()
    cells = dict(zip(*[[c.strip() for c in t.split('|')] for t in (heading, line)], strict=True))
    assert cells['config'] == 'tiny' and cells['visible'] == '50.0%'
    share = other['masked_flops'] / other['dense_flops']
    assert cells['masked / dense'] == f'{share:.1%}'


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none.py'], 'the config none.py does not exist'),
        (['{config}', '--shape', '100'], '100x100 pixels are no multiple of the 32-pixel patch'),
        (['{config}', '--mask-ratio', '1'], 'tiny.py: .*mask_ratio=1.0 must lie strictly'),
        (['{config}', '--shape', '64', '--mask-ratio', '0.9'], 'keeps 0 of the 4 patches'),
        (['configs/benchmarks/vip/dino.py'], 'dino.py is no config of pre-training'),
        (['{config}', '--cfg-options', 'modle.a=1'], 'did you mean model'),
    ],
)
def test_one_message(config, monkeypatch, capsys, args, message):
    monkeypatch.chdir(REPOSITORY)
    args = [arg.format(config=config) for arg in args]
    assert re.search(message, failure(capsys, 'analysis_tools/get_flops', *args))
