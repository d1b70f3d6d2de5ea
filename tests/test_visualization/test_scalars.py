"""Records of a log, whatever state it is in."""

import pytest

from mmvideomac.visualization.scalars import read_records


def test_unfinished_lines_are_left_out(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_bytes(b'{"a": 1, "step": 1}\n\xff\xfe\n\n{"a": NaN, "step": 2}\n[3]\n{"a": 4')
    records = read_records(path)
    assert [record['step'] for record in records] == [1, 2] and records[0]['a'] == 1


@pytest.mark.parametrize('content', [b'', b'hello\n', b'[1, 2]\n', b'{"a": 1}\n', b'\x00\xff'])
def test_no_log(tmp_path, content):
    path = tmp_path / 'scalars.json'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'scalars\.json is no log of mmengine, or nothing'):
        read_records(path)
