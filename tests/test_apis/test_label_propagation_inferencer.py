import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmvideomac.apis import LabelPropagationInferencer, VideoFrames
from mmvideomac.datasets import VideoReadError
from mmvideomac.models import SparseConvNeXtV2
from mmvideomac.utils.errors import UserError
from tests.test_apis.clips import LENGTH, iou, write_frames, write_video
from tests.test_engine.tiny import REPOSITORY, tiny_config
from tests.test_evaluation.clips import SPEED, still_clip
from tests.test_models.utils import ARCH


@pytest.fixture(scope='module')
def by_color():
    return LabelPropagationInferencer('color', 'cpu')


@pytest.fixture
def square(tmp_path):
    """Folder of frames, and masks."""
    return tmp_path / 'frames', write_frames(tmp_path / 'frames')


def test_masks_follow_the_square_through_a_file(by_color, tmp_path):
    masks = write_video(tmp_path / 'v.mp4')
    out = tmp_path / 'new/o.mp4'
    result = by_color(tmp_path / 'v.mp4', first_mask=masks[0], out=out, show_progress=False)
    assert (result.setting, result.num_frames, result.error) == ('videomac, stride 8', LENGTH, None)
    assert result.labels.dtype == np.uint8 and result.labels.shape == masks.shape
    assert min(iou(*pair) for pair in zip(result.labels, masks, strict=True)) > 0.8
    for number, label in enumerate(result.labels):
        image = Image.open(tmp_path / f'new/o_masks/{number:05d}.png')
        assert image.mode == 'P'
        np.testing.assert_array_equal(np.array(image), label)
    overlay = VideoFrames(out)
    assert (len(overlay), overlay.size, overlay.fps) == (LENGTH, (64, 96), 12.5)
    video = np.array(list(VideoFrames(tmp_path / 'v.mp4')), int)
    change = np.abs(np.array(list(overlay), int) - video).mean(-1)
    assert change[masks > 0].mean() > 4 * change[masks == 0].mean()


def test_masks_of_two_runs_do_not_mix(by_color, square, tmp_path):
    frames, masks = square
    out = tmp_path / 'o.mp4'
    settings = dict(first_mask=masks[0], out=out, show_progress=False)
    by_color(frames, **settings)
    by_color(frames, **settings)
    before = (tmp_path / 'o_masks' / 'f1.png').read_bytes()
    with pytest.raises(ValueError, match=r'o_masks holds masks of other frames \(f3\.png\)'):
        by_color(VideoFrames(frames, max_frames=3), **settings)
    assert (tmp_path / 'o_masks' / 'f1.png').read_bytes() == before


def test_labels_of_the_wrong_kind(by_color, square, tmp_path):
    frames, masks = square
    settings = dict(out=tmp_path / 'o.mp4', show_progress=False)
    (tmp_path / 'folder').mkdir()
    with pytest.raises(ValueError, match='is a folder: points are written to a file'):
        by_color(frames, first_points=[[13, 21]], labels_out=tmp_path / 'folder', **settings)
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='is a file: masks are written to a folder'):
        by_color(frames, first_mask=masks[0], labels_out=tmp_path / 'file', **settings)


@pytest.mark.parametrize('named', [False, True])
def test_points_follow_the_square_through_a_folder(by_color, square, tmp_path, named):
    points = {'left': [13, 21], 'right': [26, 33]} if named else [[13, 21], [26, 33]]
    out = tmp_path / 'o.mp4'
    result = by_color(square[0], first_points=points, out=out, show_progress=False)
    first = np.array([[13, 26], [21, 33]], float)
    expected = np.stack([first + np.array([[SPEED * t], [0]]) for t in range(LENGTH)], -1)
    assert result.labels.shape == expected.shape
    assert np.abs(result.labels - expected).max() < 4
    written = json.loads((tmp_path / 'o_points.json').read_text())
    assert list(written) == [f'f{t}' for t in range(LENGTH)]
    assert written['f0'] == points
    last = written['f5']['right'] if named else written['f5'][1]
    np.testing.assert_allclose(last, result.labels[:, 1, 5], atol=0.01)
    assert len(VideoFrames(out)) == LENGTH


@pytest.mark.parametrize('size', [(96, 170), (170, 96)])
@pytest.mark.parametrize('encoder', ['color', '{config}:random'])
def test_points_of_a_still_clip_stay(config, tmp_path, size, encoder):
    for number, frame in enumerate(still_clip(size)):
        Image.fromarray(frame).save(tmp_path / f'{number}.png')
    inferencer = LabelPropagationInferencer(encoder.format(config=config), 'cpu')
    right, low = size[1] - 1, size[0] - 1
    points = [[2, 1.5], [0, 0], [right, low], [right - 0.3, 5], [40.7, 50.2], [3, low - 2]]
    result = inferencer(tmp_path, first_points=points, show_progress=False)
    # All context is the frame itself: only rounding in single precision moves a point.
    assert np.abs(result.labels - np.array(points).T[..., None]).max() < 1e-3


def test_an_object_smaller_than_a_cell_is_named(square):
    folder, masks = square
    by_color = LabelPropagationInferencer('color', 'cpu', input_size=64)
    mask = masks[0].copy()
    mask[60, 90] = 5
    with pytest.warns(UserWarning, match=r'object 5 cannot be followed: smaller than a cell'):
        frames = by_color.follow(folder, first_mask=mask)
    assert 5 not in list(frames)[1][1]
    with pytest.warns(UserWarning, match='object 5 cannot') as warned:
        result = by_color(folder, first_mask=mask, show_progress=False)
    assert result.warning == str(warned[0].message) and '8x8 pixels of the video' in result.warning
    assert 'at stride 1 that would be possible' in result.warning
    assert by_color(folder, first_mask=masks[0], show_progress=False).warning is None


def test_follow_is_lazy_and_yields_the_frame_of_each_label(by_color, square):
    (square[0] / 'f3.png').write_text('broken')
    pairs = by_color.follow(square[0], first_mask=square[1][0])
    frames = VideoFrames(square[0], max_frames=3)
    for number, frame in enumerate(frames):
        seen, label = next(pairs)
        np.testing.assert_array_equal(seen, frame)
        assert iou(label, square[1][number]) > 0.8
    with pytest.raises(VideoReadError, match='f3'):
        next(pairs)


def test_a_video_that_breaks_keeps_what_was_done(by_color, square, tmp_path):
    out = tmp_path / 'o.mp4'
    (square[0] / 'f3.png').write_text('broken')
    result = by_color(square[0], first_mask=square[1][0], out=out, show_progress=False)
    assert result.num_frames == len(result.labels) == len(VideoFrames(out)) == 3
    assert 'f3.png: frame 3' in result.error
    assert sorted(p.name for p in (tmp_path / 'o_masks').iterdir()) == [
        'f0.png',
        'f1.png',
        'f2.png',
    ]
    result = by_color(square[0], first_points=[[13, 21]], out=out, show_progress=False)
    assert len(json.loads((tmp_path / 'o_points.json').read_text())) == len(VideoFrames(out)) == 3
    (square[0] / 'f0.png').write_text('broken')
    with pytest.raises(VideoReadError, match='f0'):
        by_color(square[0], first_mask=square[1][0], show_progress=False)


def test_labels_need_not_be_kept(by_color, square):
    part = VideoFrames(square[0], start=2, max_frames=2)
    result = by_color(part, first_mask=square[1][2], keep_labels=False, show_progress=False)
    assert result.labels is None and result.num_frames == 2


@pytest.fixture
def checkpoint(tmp_path):
    """A pre-training checkpoint of the encoder of :func:`config`."""
    torch.manual_seed(5)
    state = {f'backbone.{k}': v for k, v in SparseConvNeXtV2(arch=ARCH).state_dict().items()}
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state), path)
    return path


@pytest.fixture
def config(tmp_path):
    """Of pre-training."""
    cfg = tiny_config(tmp_path)
    cfg.model.backbone.arch = ARCH
    cfg.custom_imports.imports = ['mmvideomac']
    path = tmp_path / 'tiny.py'
    cfg.dump(path)
    return path


def test_the_encoder_of_a_pretraining_checkpoint(config, checkpoint):
    inferencer = LabelPropagationInferencer(
        f'{config}:{checkpoint}@stage=2', 'cpu', protocol='crw', stride_method=None
    )
    state = torch.load(checkpoint)['state_dict']
    for task, model in dict(davis=inferencer.masks, points=inferencer.points).items():
        own = model.extractor.backbone.state_dict()
        assert own and all(torch.equal(own[key], state[f'backbone.{key}']) for key in own)
        assert (model.task, model.extractor.stages) == (task, [1])
        assert model.description == 'crw, stage 2, stride 8'
        assert model.mean.flatten().tolist() == [124, 116, 104]


def test_a_benchmark_config_gives_features(checkpoint, tmp_path):
    cfg = Config.fromfile(REPOSITORY / 'configs/benchmarks/vip/crw.py')
    cfg.model.backbone.arch, cfg.model.stage = ARCH, 2
    cfg.dump(tmp_path / 'vip.py')
    spec = f'{tmp_path}/vip.py:{checkpoint}'
    inferencer = LabelPropagationInferencer(spec, 'cpu', task='vip', protocol='crw')
    (model,) = inferencer._models.values()
    assert (model.task, model.protocol.name, model.extractor.stages) == ('vip', 'crw', [1])
    assert model is inferencer.masks and inferencer.points.task == 'points'


def test_random_is_the_same_every_time(config):
    states = []
    for _ in range(2):
        torch.rand(3)
        inferencer = LabelPropagationInferencer(f'{config}:random', 'cpu')
        before = torch.random.get_rng_state()
        models = [inferencer.masks, inferencer.points]
        assert torch.equal(torch.random.get_rng_state(), before)
        states += [model.extractor.backbone.state_dict() for model in models]
    for state in states[1:]:
        assert all(torch.equal(state[key], states[0][key]) for key in states[0])


def test_bad_arguments(by_color, square, tmp_path, config):
    folder, masks = square
    with pytest.raises(ValueError, match='either a first mask or first points'):
        by_color.follow(folder)
    with pytest.raises(ValueError, match='either a first mask or first points'):
        by_color(folder, first_mask=masks[0], first_points=[[1, 2]])
    with pytest.raises(ValueError, match='labels_out goes with out'):
        by_color(folder, first_mask=masks[0], labels_out=tmp_path)
    with pytest.raises(ValueError, match='is, or holds, an input'):
        by_color(folder, first_mask=masks[0], out=tmp_path / 'o.mp4', labels_out=folder)
    with pytest.raises(ValueError, match='videos are written as'):
        by_color(folder, first_mask=masks[0], out=tmp_path / 'o.gif')
    with pytest.raises(UserError, match='give the weights too'):
        LabelPropagationInferencer(str(config))
    with pytest.raises(UserError, match=r'the config none\.py does not exist'):
        LabelPropagationInferencer('none.py:random')
    with pytest.raises(ValueError, match="unknown protocol 'x'"):
        LabelPropagationInferencer(f'{config}:random', protocol='x')
