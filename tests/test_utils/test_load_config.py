"""load_config: what it reads, and one message for what it cannot."""

import pytest

from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError


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
