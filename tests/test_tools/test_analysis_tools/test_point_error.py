"""tools/analysis_tools/point_error.py: points beat the grid of JHMDB on clips with known joints."""

import numpy as np
import pytest

from mmvideomac.datasets import JHMDBDataset
from mmvideomac.evaluation import get_protocol
from mmvideomac.evaluation.encoder_sources import parse_encoder
from tests.test_engine.tiny import REPOSITORY
from tests.test_tools.tools import failure, load_tool

pytest.importorskip('skimage')
TOOL = 'analysis_tools/point_error'
PROTOCOL = get_protocol('videomac')
CLIPS, FRAMES = 2, 5


@pytest.fixture(scope='module')
def jhmdb(tmp_path_factory):
    """The labelled sample clips with joints, as a user makes them but shorter."""
    out = tmp_path_factory.mktemp('samples')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / 'tools' / 'data'))
        samples = load_tool('data/make_sample_videos')
        for clip in samples.plan(1):
            if clip.layout == 'jhmdb':
                clip.write(out, 0, (240, 320), FRAMES)
        for name, text in samples.lists().items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)
    return out / 'jhmdb'


def test_points_beat_the_grid(jhmdb):
    tool, color = load_tool(TOOL), parse_encoder('color')
    dataset = JHMDBDataset(jhmdb, indices=CLIPS)

    def errors(task, size):
        return tool.distances(tool.build(color, 'videomac', task, size), dataset)

    grid = errors('jhmdb', PROTOCOL.jhmdb.input_size)
    assert grid.shape == (CLIPS * (FRAMES - 1) * 15,)
    same_size = errors('points', PROTOCOL.jhmdb.input_size)
    assert same_size.mean() < 0.95 * grid.mean()
    points = errors('points', PROTOCOL.points.input_size)  # as a user has them
    assert points.mean() < 0.6 * grid.mean()
    assert (points <= 4).mean() > 3 * (grid <= 4).mean()


def test_shares(monkeypatch, jhmdb, capsys):
    tool = load_tool(TOOL)
    monkeypatch.setattr(tool, 'distances', lambda *_: np.array([0.5, 2, 3, 9.5, np.nan]))
    assert tool.main(['color@name=mine', '--jhmdb', str(jhmdb), '--max-frames', '3']) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if '| mine |' in line]
    cells = '3.75 | 20.0 | 40.0 | 60.0 | 60.0 |'
    assert lines == [
        f'| mine | {labels}, {size} | {cells}'
        for size in ('320x320', 'short side 480')
        for labels in ('joints of JHMDB', 'points')
    ]


def test_no_data(tmp_path, capsys):
    assert 'no list' in failure(capsys, TOOL, 'color', '--jhmdb', tmp_path)
