"""tools/misc/print_config.py: what it prints is the config, complete."""

import pytest
from mmengine.config import Config

from tests.test_engine.tiny import REPOSITORY
from tests.test_tools.tools import failure, load_tool

CONFIG = REPOSITORY / 'configs' / 'videomac_rn50_yt18.py'


def test_the_output_is_the_config(tmp_path, capsys):
    load_tool('misc/print_config').main(
        [str(CONFIG), '--cfg-options', 'model.masker.mask_ratio=0.9', 'train_cfg.max_epochs=3']
    )
    printed = tmp_path / 'printed.py'
    printed.write_text(capsys.readouterr().out)
    assert '_base_' not in printed.read_text()
    expected = Config.fromfile(CONFIG)
    expected.model.masker.mask_ratio = 0.9
    expected.train_cfg.max_epochs = 3
    assert Config.fromfile(printed).to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['none.py'], 'the config none.py does not exist'),
        ([str(CONFIG), '--cfg-options', 'modle.a=1'], 'did you mean model'),
    ],
)
def test_one_message(capsys, args, message):
    assert message in failure(capsys, 'misc/print_config', *args)
    assert capsys.readouterr().out == ''
