"""tools/model_converters/official_to_mmvideomac.py, as a user starts it."""

import shlex
import sys

import pytest
import torch

from tests.test_checkpoint.test_official_weights import as_released, official_resnet
from tests.test_tools.tools import load_tool


@pytest.mark.parametrize('whole', [True, False])
def test_the_printed_options_are_for_a_shell(tmp_path, monkeypatch, capsys, whole):
    ours = official_resnet(18).state_dict()
    prefixes = ('backbone.', 'head.') if whole else ('backbone.',)
    online = {name: value for name, value in ours.items() if name.startswith(prefixes)}
    torch.save(dict(as_released(*item) for item in online.items()), tmp_path / 'released.pt')
    out = tmp_path / 'my weights.pth'
    monkeypatch.setattr(sys, 'argv', ['tool', str(tmp_path / 'released.pt'), str(out)])
    assert not load_tool('model_converters/official_to_mmvideomac').main()
    flag, preset, *rest = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert (flag, preset) == ('--cfg-options', 'model.backbone.preset=official')
    key = 'load_from' if whole else 'model.backbone.init_cfg.checkpoint'
    assert f'{key}={out}' in rest
    assert torch.load(out)['state_dict'].keys() == online.keys()
