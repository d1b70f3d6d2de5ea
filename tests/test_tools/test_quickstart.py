"""The quickstart plans what fits, trains for real, reports, and says what is wrong."""

import importlib.util
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.utils.errors import UserError

TOOL = Path(__file__).parents[2] / 'tools' / 'quickstart.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('quickstart', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clips(tmp_path):
    """20 folders of 3 frames."""
    rng = np.random.default_rng(0)
    for video in range(20):
        folder = tmp_path / 'clips' / f'{video:02d}'
        folder.mkdir(parents=True)
        scene = Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8))
        scene = scene.resize((200, 160), Image.Resampling.BICUBIC)
        for frame in range(3):
            scene.crop((frame, 0, 180 + frame, 160)).save(folder / f'{frame}.jpg')
    return tmp_path / 'clips'


@pytest.mark.parametrize('num_videos', [1, 24, 44, 500, 10**6])
@pytest.mark.parametrize('pairs', [10, 700, 15000, 10**5])
def test_plan_takes_about_the_pairs_that_fit(tool, num_videos, pairs):
    cfg = Config.fromfile(tool.CONFIG)
    tool.plan_training(cfg, num_videos, pairs)
    dataset, batch = cfg.train_dataloader.dataset, cfg.train_dataloader.batch_size
    used = dataset.indices or num_videos
    assert used <= num_videos
    per_epoch = used * dataset.sampling.repeats
    assert per_epoch >= batch  # else the loader would be empty
    total = per_epoch * cfg.train_cfg.max_epochs
    assert 0.8 * pairs < total
    # At the least two epochs of a batch or of every video.
    assert total < 1.25 * pairs or cfg.train_cfg.max_epochs == 2
    assert total < 1.25 * max(pairs, 2 * (batch + used))


def test_schedule_spans_the_epochs(tool):
    cfg = Config.fromfile(tool.CONFIG)
    tool.plan_training(cfg, 24, 15000)
    warmup, cosine = cfg.param_scheduler
    assert warmup.get('begin', 0) == 0 and warmup.end == cosine.begin
    assert cosine.end == cosine.begin + cosine.T_max == cfg.train_cfg.max_epochs
    assert math.isclose(cfg.train_cfg.max_epochs, tool.EPOCHS, abs_tol=2)


def test_own_clips_end_to_end(tool, clips, tmp_path, monkeypatch, capfd):
    """Two epochs of one step each, with the real model, tools/train.py and the report."""
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(tool, 'measure_speed', lambda cfg: 50.0)
    make_samples = tool.make_samples
    small = ['--clips', '1', '--frames', '4', '--size', '96x128']
    monkeypatch.setattr(tool, 'make_samples', lambda out: make_samples(out, *small))
    out = tmp_path / 'out'
    (out / 'run').mkdir(parents=True)
    (out / 'run' / 'stale').write_text('')
    (out / 'run' / tool.MARKER).touch()
    assert tool.main(['--videos', str(clips), '--minutes', '0.01', '--out', str(out)]) == 0
    printed = capfd.readouterr().out
    assert (
        f'Replacing the earlier {out / "run"}' in printed and not (out / 'run' / 'stale').exists()
    )
    assert 'epoch 2, iteration 1/1: 0:00:00 left' in printed
    assert str(out / 'report.html') in printed
    html = (out / 'report.html').read_text()
    assert '2 in 2 epochs' in html and 'After 2 iterations' in html
    checkpoint = (out / 'run' / 'last_checkpoint').read_text().strip()
    assert Path(checkpoint).is_file()
    for text in ('<th>pre-trained</th>', '<th>random</th>', 'davis/J&amp;F', 'vip/mIoU', 'PCK@0.2'):
        assert text in html
    for caption in ('Objects (DAVIS)', 'Body parts (VIP)', 'Joints (JHMDB)'):
        assert 1 <= html.count(f'<figcaption>{caption}') <= 2
    # The commands shown name files that exist.
    (command,) = (line for line in printed.splitlines() if 'vis_reconstruction' in line)
    root = TOOL.parents[1]
    assert all((root / word).exists() for word in shlex.split(command)[1:])
    # What was made is known to be, and may be replaced.
    assert all((out / name / tool.MARKER).is_file() for name in ('run', 'label_propagation'))


@pytest.mark.parametrize('name', ['run', 'label_propagation'])
def test_folders_of_others_are_never_removed(tool, clips, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(tool, 'make_samples', lambda out: pytest.fail('began'))
    mine = tmp_path / 'out' / name / 'mine.txt'
    mine.parent.mkdir(parents=True)
    mine.write_text('kept')
    assert tool.main(['--videos', str(clips), '--out', str(tmp_path / 'out')]) == 1
    error = capsys.readouterr().err
    assert f'{name} was not made by the quickstart' in error and 'choose another --out' in error
    assert mine.read_text() == 'kept'


def test_suggested_commands_are_for_a_shell(tool, clips, tmp_path):
    odd = tmp_path / "my clips; it's $HOME"
    clips.rename(odd)
    arguments = ['--videos', str(odd), '--out', str(tmp_path / 'an out')]
    config, checkpoint = tmp_path / 'a config.py', tmp_path / 'a b.pth'
    steps = tool.next_steps(config, checkpoint, str(odd), tool.parse_args(arguments))
    words = [shlex.split(command) for _, command in steps]
    assert words[0][2:] == [str(config), str(checkpoint), str(odd / '00')]
    assert words[1][-1] == str(tmp_path / 'an out' / 'run')
    assert words[2][2:] == ['--out', str(tmp_path / 'an out'), '--minutes', '60', *arguments[:2]]


def test_speed_of_real_steps(tool, clips, tmp_path, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_CACHE', str(tmp_path / 'cache'))
    cfg = Config.fromfile(tool.CONFIG)
    cfg.train_dataloader.dataset.data_root = str(clips)
    cfg.train_dataloader.update(num_workers=0, batch_size=4)
    init_default_scope(cfg.default_scope)
    tool.plan_training(cfg, 20, 1e4)
    assert 0.1 < tool.measure_speed(cfg, seconds=0.1) < 1e4


def test_failed_training_shows_its_last_words(tool, tmp_path, capsys):
    with pytest.raises(UserError, match='exit status 1') as error:
        tool.train(tmp_path / 'no_such_config.py', tmp_path / 'run')
    assert 'no_such_config.py' in str(error.value)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--minutes', '0'], '--minutes must be positive'),
        (['--videos', 'nowhere'], 'nowhere does not exist'),
        (['--videos', '.'], 'no videos found'),
    ],
)
def test_bad_arguments(tool, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert tool.main([*arguments, '--out', str(tmp_path / 'out')]) == 1
    error = capsys.readouterr().err
    assert error.startswith('tools/') and message in error
    assert not (tmp_path / 'out').exists()
