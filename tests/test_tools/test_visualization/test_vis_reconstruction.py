"""tools/visualization/vis_reconstruction.py on each kind of input, and its one-line errors."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.registry import MODELS
from tests.test_engine.tiny import tiny_config, write_videos
from tests.test_tools.tools import load_tool


@pytest.fixture(scope='module')
def tool():
    return load_tool('visualization/vis_reconstruction')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config, a checkpoint that fits it, and folders of 6 frames."""
    init_default_scope('mmvideomac')
    root = tmp_path_factory.mktemp('files')
    (root / 'videos').mkdir()
    write_videos(root / 'videos')
    config = tiny_config(root / 'videos')
    config.custom_imports.imports = ['mmvideomac']
    config.model.masker = dict(type='SymmetricRandomMask', mask_ratio=0.75)
    config.dump(root / 'config.py')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), root / 'model.pth')
    return root


def run(tool, files, tmp_path, *arguments, checkpoint='model.pth'):
    fixed = [str(files / 'config.py'), str(files / checkpoint)]
    return tool.main([*fixed, *map(str, arguments), '--out', str(tmp_path)])


def test_frame_folders(tool, files, tmp_path):
    videos = [files / 'videos' / name for name in ('video0', 'video1')]
    assert run(tool, files, tmp_path, *videos, '--num', '2') == 0
    pictures = [np.asarray(Image.open(tmp_path / f'video{i}.png')) for i in range(2)]
    assert pictures[0].shape == pictures[1].shape and (pictures[0] != pictures[1]).any()
    run(tool, files, tmp_path / 'one', videos[0], '--num', '1')
    single = Image.open(tmp_path / 'one' / 'video0.png')
    assert single.height < pictures[0].shape[0]


def test_video_file(tool, files, tmp_path):
    cv2 = pytest.importorskip('cv2')
    clip = tmp_path / 'clip.mp4'
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'mp4v'), 25, (128, 80))
    for path in sorted((files / 'videos/video0').iterdir()):
        writer.write(cv2.resize(cv2.imread(str(path)), (128, 80)))
    writer.release()
    assert run(tool, files, tmp_path, clip) == 0
    assert (tmp_path / 'clip.png').is_file()


def test_two_images_and_options_that_matter(tool, files, tmp_path):
    images = [files / 'videos/video0' / f'0000{i}.png' for i in (0, 5)]
    drawn = []
    for number, options in enumerate(
        [[], [], ['--seed', '1'], ['--mask-ratio', '0.5'], ['--size', '96']]
    ):
        out = tmp_path / str(number)
        assert run(tool, files, out, *images, *options) == 0
        drawn.append((out / '00000_00005.png').read_bytes())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


def test_same_names_do_not_overwrite_each_other(tool, files, tmp_path):
    videos = files / 'videos'
    twin = tmp_path / 'twin' / 'video0'
    twin.mkdir(parents=True)
    for path in (videos / 'video1').iterdir():
        (twin / path.name).write_bytes(path.read_bytes())
    assert run(tool, files, tmp_path, videos / 'video0', twin, '--num', '1') == 0
    assert len(list(tmp_path.glob('*.png'))) == 2


def test_folder_of_videos(tool, files, tmp_path):
    assert run(tool, files, tmp_path, files / 'videos', '--num', '1') == 0
    names = {path.name for path in (files / 'videos').iterdir()}
    assert {path.stem for path in tmp_path.glob('*.png')} == names


def test_another_architecture(tool, files, tmp_path, capsys):
    state = torch.load(files / 'model.pth')['state_dict']
    del state['head.mask_token']
    state['backbone.strange'] = torch.zeros(1)
    torch.save(dict(state_dict=state), files / 'other.pth')
    assert run(tool, files, tmp_path, files / 'videos/video0', checkpoint='other.pth') == 1
    message = capsys.readouterr().err
    assert 'other.pth' in message and 'backbone.strange' in message and 'mask_token' in message
    assert len(message) < 1500
    assert not list(tmp_path.glob('*.png'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere'], 'nowhere does not exist'),
        (['{videos}/video0/00000.png'], 'two images'),
        (['{videos}/video0/00000.png', '{videos}/video0'], 'two images'),
        (['{empty}'], 'no videos found'),
        (['{videos}/video0', '--gap', '6'], 'too few'),
        (['{videos}/video0', '--size', '60'], 'multiple'),
        (['{videos}/video0', '--mask-ratio', '1.5'], 'mask_ratio'),
        (['{videos}/video0', '--num', '0'], '--num'),
    ],
)
def test_bad_input(tool, files, tmp_path, capsys, arguments, message):
    empty = tmp_path / 'empty'
    empty.mkdir()
    arguments = [text.format(videos=files / 'videos', empty=empty) for text in arguments]
    assert run(tool, files, tmp_path, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith('tools/') and message in error
    assert not list(tmp_path.glob('*.png'))


def test_missing_and_cut_checkpoints(tool, files, tmp_path, capsys):
    video = files / 'videos/video0'
    assert run(tool, files, tmp_path, video, checkpoint='none.pth') == 1
    assert 'none.pth does not exist' in capsys.readouterr().err
    (files / 'cut.pth').write_bytes((files / 'model.pth').read_bytes()[:5000])
    assert run(tool, files, tmp_path, video, checkpoint='cut.pth') == 1
    assert 'incomplete' in capsys.readouterr().err
