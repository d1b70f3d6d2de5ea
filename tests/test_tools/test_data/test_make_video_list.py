import pytest

from mmvideomac.datasets import FramePairDataset
from tests.test_datasets.helpers import make_frames
from tests.test_tools.tools import failure, load_tool

TOOL = 'data/make_video_list'


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    for i in range(4):
        make_frames(tmp_path / 'videos' / f'#{i}', 36)
    return tmp_path / 'videos'


def test_list_restricts_the_dataset(root, tmp_path, capsys):
    out = tmp_path / 'list.txt'
    arguments = [str(root), '--out', str(out), '--hours', '0.02', '--fps', '1']
    assert load_tool(TOOL).main(arguments) == 0
    assert f'{out}: 0.020 hours, 2 of 4 videos' in capsys.readouterr().out
    assert len(FramePairDataset(str(root), ann_file=str(out))) == 2 * 35


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--hours', '9', '--fps', '1'], 'less than 9'),
        (['--hours', '0.02'], '--fps'),
        (['--hours', '-1', '--fps', '1'], 'positive'),
    ],
)
def test_what_cannot_be_drawn(root, tmp_path, capsys, arguments, message):
    assert message in failure(capsys, TOOL, root, '--out', tmp_path / 'list.txt', *arguments)


def test_no_such_folder(tmp_path, capsys):
    arguments = [tmp_path / 'nowhere', '--out', tmp_path / 'list.txt', '--hours', '1']
    assert 'does not exist' in failure(capsys, TOOL, *arguments)
