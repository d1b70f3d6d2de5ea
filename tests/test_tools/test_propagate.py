"""tools/propagate.py."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmvideomac.apis import VideoFrames
from mmvideomac.apis.propagation_writer import MaskWriter
from tests.test_apis.clips import (
    LENGTH,
    iou,
    write_damaged_video,
    write_frames,
    write_mask,
    write_video,
)
from tests.test_engine.tiny import tiny_config
from tests.test_tools.tools import load_tool


def run(*args):
    return load_tool('propagate').main([str(arg) for arg in args])


@pytest.fixture
def clip(tmp_path):
    """A video file, its first mask, and all of them."""
    masks = write_video(tmp_path / 'clip.mp4')
    return tmp_path / 'clip.mp4', write_mask(tmp_path / 'first.png', masks[0]), masks


def test_a_file_with_a_mask(clip, tmp_path, capsys):
    video, first, masks = clip
    out = tmp_path / 'new/o.mp4'
    assert run(video, '--first-mask', first, '--out', out) == 0
    printed = capsys.readouterr()
    assert f'o.mp4: {LENGTH} frames (videomac, stride 8)' in printed.out
    assert 'cannot be followed' not in printed.err
    assert len(VideoFrames(out)) == LENGTH
    for number in range(LENGTH):
        mask = np.array(Image.open(tmp_path / f'new/o_masks/{number:05d}.png'))
        assert iou(mask, masks[number]) > 0.8


def test_an_object_that_cannot_be_followed_is_named_on_stderr(clip, tmp_path, capsys):
    video, _, masks = clip
    masks[0, 60, 90] = 5
    first = write_mask(tmp_path / 'small.png', masks[0])
    options = ['--first-mask', first, '--input-size', 64, '--max-frames', 2]
    assert run(video, *options, '--out', tmp_path / 'o.mp4') == 0
    printed = capsys.readouterr()
    assert 'o.mp4: 2 frames (videomac, input size 64, stride 8)' in printed.out
    line = printed.err.splitlines()[0]  # the progress of a slow machine follows
    assert line.startswith('tools/propagate.py: object 5 cannot be followed: smaller than a cell')
    assert '8x8 pixels of the video; at stride' in line
    assert run(video, *options, '--encoder', 'color@stride=1', '--out', tmp_path / 'o.mp4') == 0
    assert 'cannot be followed' not in capsys.readouterr().err


def test_a_part_of_a_folder_with_points_and_an_encoder(tmp_path):
    write_frames(tmp_path / 'frames')
    cfg = tiny_config(tmp_path)
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.dump(tmp_path / 'tiny.py')
    (tmp_path / 'p.json').write_text('{"a": [21, 21]}')
    options = ['--start', 1, '--max-frames', 2, '--protocol', 'crw']
    options += ['--encoder', f'{tmp_path}/tiny.py:random@stage=1+2']
    options += ['--labels-out', tmp_path / 'tracks.json', '--out', tmp_path / 'o.mp4']
    assert run(tmp_path / 'frames', '--points', tmp_path / 'p.json', *options) == 0
    tracks = json.loads((tmp_path / 'tracks.json').read_text())
    assert list(tracks) == ['f1', 'f2'] and tracks['f1'] == {'a': [21, 21]}


def test_a_video_that_breaks_midway(tmp_path, capsys):
    write_damaged_video(tmp_path / 'v.mp4')
    (tmp_path / 'p.json').write_text('[[20, 20]]')
    out = tmp_path / 'o.mp4'
    assert run(tmp_path / 'v.mp4', '--points', tmp_path / 'p.json', '--out', out) == 1
    printed = capsys.readouterr()
    done = len(VideoFrames(out))
    assert 12 <= done < 30 and f'o.mp4: {done} frames' in printed.out
    last = printed.err.strip().splitlines()[-1]
    assert last.startswith('tools/propagate.py: stopped before the end: ')
    assert f'v.mp4: frame {done} cannot be decoded' in last
    assert len(json.loads((tmp_path / 'o_points.json').read_text())) == done


def test_an_interrupted_run_keeps_what_was_written(clip, tmp_path, monkeypatch, capsys):
    def write_label(writer, name, *args, original=MaskWriter.write_label):
        if name == '00003':
            raise KeyboardInterrupt
        original(writer, name, *args)

    monkeypatch.setattr(MaskWriter, 'write_label', write_label)
    out = tmp_path / 'o.mp4'
    assert run(clip[0], '--first-mask', clip[1], '--out', out) == 130
    assert 'interrupted; what was written is kept' in capsys.readouterr().err
    assert len(VideoFrames(out)) == len(list((tmp_path / 'o_masks').iterdir())) == 3


@pytest.mark.parametrize(
    'args, message',
    [
        (['{clip}'], 'give either --first-mask or --points'),
        (['{clip}', '--first-mask={mask}', '--points=p.json'], 'give either --first-mask or'),
        (['none.mp4', '--first-mask={mask}'], 'the video none.mp4 does not exist'),
        (['{clip}', '--first-mask=none.png'], 'none.png: the image cannot be read'),
        (['{clip}', '--first-mask=rgb.png'], 'rgb.png: the mask is a RGB image'),
        (['{clip}', '--first-mask=empty.png'], 'empty.png shows no object'),
        (['{clip}', '--first-mask=small.png'], 'small.png is 20x64, the video 96x64'),
        (['{clip}', '--points=none.json'], 'the points none.json do not exist'),
        (['{clip}', '--points=bad.json'], 'bad.json is no JSON'),
        (['{clip}', '--points=outside.json'], 'point nose at [96.0, 3.0] is outside the frame'),
        (['{clip}', '--first-mask={mask}', '--start=6'], 'has frames 0 to 5: it cannot start at 6'),
        (['{clip}', '--first-mask={mask}', '--protocol=x'], "unknown protocol 'x'"),
        (['{clip}', '--first-mask={mask}', '--out={clip}'], 'is, or holds, an input'),
        (['{clip}', '--first-mask={mask}', '--labels-out=.'], 'is, or holds, an input'),
        (['{clip}', '--first-mask={mask}', '--out=o.gif'], 'are written as .mp4'),
        (['{clip}', '--first-mask={mask}', '--encoder=c.py'], 'c.py: give the weights too'),
        (
            ['{clip}', '--first-mask={mask}', '--encoder=c.py:other.pth'],
            'other.pth holds no usable encoder',
        ),
        (
            ['{clip}', '--first-mask={mask}', '--encoder=c.py:none.pth'],
            'the checkpoint none.pth does not exist',
        ),
    ],
)
def test_bad_arguments_are_one_message(clip, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    Image.new('RGB', (96, 64), 'red').save('rgb.png')
    write_mask(tmp_path / 'empty.png', np.zeros((64, 96), np.uint8))
    write_mask(tmp_path / 'small.png', np.ones((64, 20), np.uint8))
    (tmp_path / 'bad.json').write_text('{"nose": ')
    (tmp_path / 'outside.json').write_text('{"nose": [96, 3]}')
    cfg = tiny_config(tmp_path)
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.dump('c.py')
    torch.save({'fc.weight': torch.zeros(2, 2)}, 'other.pth')
    args = [arg.format(clip=clip[0], mask=clip[1]) for arg in args]
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run('--out=o.mp4', *args) == 1
    error = capsys.readouterr().err
    assert error.startswith('tools/propagate.py: ') and message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before
