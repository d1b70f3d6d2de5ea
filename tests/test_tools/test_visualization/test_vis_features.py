"""tools/visualization/vis_features.py on each kind of input, and its one-line errors."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.registry import MODELS
from tests.test_datasets.helpers import make_video
from tests.test_engine.tiny import tiny_config, write_videos
from tests.test_tools.tools import load_tool

INNER = (slice(20, 41), slice(60, 81))  # of the mask's object; its middle is 70, 30


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config, a checkpoint that fits it, folders of 6 frames 100 x 80, and masks."""
    init_default_scope('mmvideomac')
    root = tmp_path_factory.mktemp('files')
    write_videos(root)
    config = tiny_config(root)
    config.custom_imports.imports = ['mmvideomac']
    config.dump(root / 'config.py')
    torch.manual_seed(7)
    model = MODELS.build(config.model)
    torch.nn.init.normal_(model.target.backbone.stages[0][0].pointwise_conv1.weight)
    torch.save(dict(state_dict=model.state_dict()), root / 'model.pth')
    (root / 'cut.pth').write_bytes((root / 'model.pth').read_bytes()[:5000])
    torch.save({'head.weight': torch.zeros(1)}, root / 'other.pth')
    broken = {key: value * float('nan') for key, value in model.state_dict().items()}
    torch.save(broken, root / 'nan.pth')
    two = config.copy()
    two.model.backbone.arch = dict(depths=[1, 1, 1, 1], channels=[2, 2, 2, 2])
    two.dump(root / 'two.py')
    ids = np.zeros((80, 100), np.uint8)
    for name, label in (('empty', 0), ('black_and_white', 255), ('mask', 3)):
        ids[INNER] = label
        Image.fromarray(ids).save(root / f'{name}.png')
    Image.fromarray(ids[:40]).save(root / 'small.png')
    (root / 'text.txt').write_text('no video')
    return root


@pytest.fixture
def run(files, tmp_path, monkeypatch):
    """Call the tool in the folder of the files; the picture, or None without one."""
    monkeypatch.chdir(files)
    out = tmp_path / 'new' / 'features.png'

    def run(*arguments, config='config.py', weights=('model.pth',)):
        tool = load_tool('visualization/vis_features')
        code = tool.main([config, *weights, *map(str, arguments), '--out', str(out)])
        assert code == (not out.exists())
        picture = np.asarray(Image.open(out).convert('RGB')) if out.exists() else None
        out.unlink(missing_ok=True)
        return picture

    return run


def test_options_that_matter(run):
    frames = ['--frames', 'video0', '--at', 0, 5]
    query = [*frames, '--query', '30,40']
    options = [
        frames,
        frames,
        query,
        [*frames, '--query', '60,40'],
        [*query, '--temperature', 1],
        [*query, '--at', 5, 0],
        [*frames, '--stage', 2],
        [*frames, '--stage', 2, 3],
        [*frames, '--stride', 16],
        [*frames, '--stride-method', 'dilation'],
        [*frames, '--network', 'target'],
        [*frames, '--short-side', 64],
    ]
    drawn = [run(*option).tobytes() for option in options]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == len(drawn) - 1
    random = [run(*frames, '--seed', seed, weights=['random']).tobytes() for seed in (0, 0, 1)]
    assert random[0] == random[1] != random[2]


def test_a_row_for_each_encoder_and_a_column_for_each_frame(run, capsys):
    single = run('--frames', 'video0', '--at', 0)
    rows = run('--frames', 'video0', '--at', 0, weights=['model.pth', 'random', 'color'])
    assert rows.shape[1] == single.shape[1] and rows.shape[0] > 1.8 * single.shape[0]
    messages = capsys.readouterr().err
    for text in ('model.pth: stage 3, stride 8', 'random: stage 3', 'color: stride 8'):
        assert text in messages
    assert 'TruncNormal' not in messages
    four = run('--frames', 'video0')
    np.testing.assert_array_equal(four, run('--frames', 'video0', '--at', 0, 2, 3, 5))


def test_video_files_and_images(run, tmp_path):
    clip = make_video(tmp_path / 'clip.avi', 5)
    assert run('--frames', clip, weights=['color']) is not None
    images = ['video0/00000.png', 'video1/00000.png']
    both = run('--frames', *images, weights=['color'])
    turned = run('--frames', *reversed(images), weights=['color'])
    assert both.shape == turned.shape and (both != turned).any()


def test_points_are_of_the_frame_as_it_is(run, monkeypatch):
    drawn = []
    tool = load_tool('visualization/vis_features')
    monkeypatch.setattr(
        tool, 'draw_affinity', lambda *args: drawn.append(args) or draw_affinity(*args)
    )
    draw_affinity = load_tool('visualization/vis_features').draw_affinity
    arguments = 'config.py color --frames video0 --short-side 41 --query 99.9,10 --query-mask'
    assert tool.main([*arguments.split(), 'mask.png', '--out', 'points.png']) == 0
    frames, _, points, temperature = drawn[0]
    assert {frame.shape for frame in frames.values()} == {(41, 51, 3)}
    expected = np.array([(99.9, 10), (70, 30)]) * [51 / 100, 41 / 80]
    np.testing.assert_allclose(points, expected)
    assert temperature == 0.1
    assert tool.main([*arguments.split(), 'black_and_white.png', '--out', 'points.png']) == 0
    assert drawn[1][2] == points


def test_one_file_by_two_names(run):
    once = run('--frames', 'video0', '--at', 0)
    twice = run('--frames', 'video0', '--at', 0, weights=['model.pth', './model.pth'])
    assert twice.shape[0] > 1.3 * once.shape[0]


@pytest.mark.parametrize(
    'arguments, message',
    [
        ('--frames nowhere', 'nowhere does not exist'),
        ('--frames text.txt', 'text.txt is not a video file'),
        ('--frames .', 'holds 9 clips: name one'),
        ('--frames video0 video1', 'one video file, one folder of frames, or images'),
        ('--frames video0 --at 0 6', '--at 6: the frames of video0 are 0 to 5'),
        ('--frames video0 --at -1', '--at -1: the frames of video0 are 0 to 5'),
        ('--frames video0/00000.png --at 0', '--at chooses frames of a clip'),
        ('--frames video0 --query 100,3', '--query 100,3 is outside the first frame, 100x80'),
        ('--frames video0 --query-mask empty.png', 'empty.png shows no object'),
        ('--frames video0 --query-mask small.png', 'small.png is 100x40'),
        ('--frames video0 --query-mask none.png', 'none.png: the image cannot be read'),
        ('--frames video0 --stage 5', 'has the stages 1 to 4'),
        ('--frames video0 --stride 12', 'does not make that 12'),
        ('--frames video0 --temperature 0', 'must be above 0'),
        ('--frames video0 --short-side 0', 'must be above 0'),
    ],
)
def test_bad_arguments_are_one_message(run, capsys, arguments, message):
    assert run(*arguments.split()) is None
    assert_one_message(capsys, message)


@pytest.mark.parametrize(
    'config, weights, message',
    [
        ('none.py', 'random', 'the config none.py does not exist'),
        ('config.py', 'none.pth', 'the checkpoint none.pth does not exist'),
        ('config.py', 'cut.pth', 'cut.pth is incomplete'),
        ('config.py', 'other.pth', 'other.pth holds no usable encoder'),
        ('config.py', 'nan.pth', 'did training diverge?'),
        ('two.py', 'random', 'need 3 channels, not 2'),
    ],
)
def test_bad_encoders_are_one_message(run, capsys, config, weights, message):
    assert run('--frames', 'video0', config=config, weights=[weights]) is None
    assert_one_message(capsys, message)


def assert_one_message(capsys, message):
    error = capsys.readouterr().err
    assert error.count('tools/visualization/vis_features.py: ') == 1 and message in error
    assert 'Traceback' not in error


def test_what_a_file_is_called(files, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(files)
    tool, fixed = (
        load_tool('visualization/vis_features'),
        ['config.py', 'color', '--frames', 'video0'],
    )
    assert tool.main([*fixed, '--out', str(tmp_path / 'a.pdf')]) == 0
    assert (tmp_path / 'a.pdf').read_bytes().startswith(b'%PDF')
    assert tool.main([*fixed, '--out', 'a.bmp']) == 1
    assert 'must end in .png, .jpg, .svg, .pdf' in capsys.readouterr().err
