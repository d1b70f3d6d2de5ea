import shlex
import threading
import time
import zipfile

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmvideomac.apis import LabelPropagationInferencer, VideoFrames
from mmvideomac.apis.interactive_session import (
    Choice,
    Clip,
    InteractiveSession,
    sample_clips,
    score_masks,
    score_points,
)
from mmvideomac.apis.marks import Stroke
from mmvideomac.datasets import VideoReadError
from mmvideomac.datasets.labelled_clips.masks import load_mask
from mmvideomac.evaluation.encoder_sources import parse_encoder
from mmvideomac.utils.errors import UserError
from tests.test_apis.clips import LENGTH, iou, write_frames, write_video
from tests.test_datasets.helpers import make_video
from tests.test_engine.tiny import tiny_config
from tests.test_evaluation.clips import write_davis, write_jhmdb
from tests.test_tools.tools import load_tool

COLOR = Choice(parse_encoder('color'), stride=4, input_size=64)


@pytest.fixture
def session(tmp_path):
    session = InteractiveSession(tmp_path / 'session', max_frames=100)
    yield session
    session.close()
    assert not session.folder.exists()


@pytest.fixture
def masks(session, tmp_path):
    """Of the clip that is open."""
    masks = write_video(tmp_path / 'clip.mp4')
    session.open(Clip('a clip', str(tmp_path / 'clip.mp4')))
    return masks


@pytest.fixture
def samples(tmp_path):
    """A folder of labelled clips, and the clips."""
    write_davis(tmp_path / 'davis')
    write_jhmdb(tmp_path / 'jhmdb')
    return {clip.name: clip for clip in sample_clips(tmp_path)}


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """Config of a small encoder."""
    path = tmp_path_factory.mktemp('encoder') / 'tiny.py'
    cfg = tiny_config(path)
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.dump(path)
    return parse_encoder(f'{path}:random')


def paint_square(session, number):
    """The moving square of the clip, in a frame."""
    x = 20 + 8 * number
    session.paint(number, Stroke(1, 8, [(x - 4, 24), (x + 4, 24), (x + 4, 32), (x - 4, 32)]))


def test_what_was_painted_is_followed(session, masks):
    paint_square(session, 1)
    assert iou(session.marks.mask(), masks[1]) > 0.8
    done = []
    (result,) = session.follow([COLOR], lambda *frame: done.append(frame))
    assert done == [(n, LENGTH - 1) for n in range(LENGTH - 1)]
    assert (result.name, result.start, result.num_frames) == ('color', 1, LENGTH - 1)
    assert (result.note, result.cancelled, result.scores) == (None, False, {})
    assert result.setting == 'videomac, input size 64, stride 4'
    for number in range(1, LENGTH):
        mask = load_mask(str(result.labels / f'{number:05d}.png'))
        assert iou(mask, masks[number]) > 0.6
    overlay = session.overlay(result, 3)
    change = np.abs(overlay.astype(int) - session.frame(3)).mean(-1)
    assert change[masks[3] > 0].mean() > 4 * change[masks[3] == 0].mean()
    np.testing.assert_array_equal(session.overlay(result, 0), session.frame(0))
    files = {path.name: path for path in session.downloads()}
    assert set(files) == {'first_mask.png', 'overlay_1.mp4', 'overlay_1_masks.zip'}
    with zipfile.ZipFile(files['overlay_1_masks.zip']) as archive:
        assert archive.namelist() == [f'{n:05d}.png' for n in range(1, LENGTH)]


@pytest.mark.parametrize('kind', ['masks', 'points'])
def test_the_command_line_repeats_it(session, masks, tmp_path, monkeypatch, kind, tiny):
    session.max_frames = 4
    session.open(session.clip)
    if kind == 'masks':
        paint_square(session, 1)
    else:
        session.point(1, 20.25, 28)
        session.point(1, 24, 24)
    choices = [COLOR, Choice(tiny, stage=2, stride=4, stride_method='resample', input_size=64)]
    results = session.follow(choices)
    assert [result.num_frames for result in results] == [3, 3]
    monkeypatch.chdir(session.downloads()[0].parent)
    for result in results:
        before = {path.name: path.read_bytes() for path in session.folder.rglob('*.png')}
        before |= {path.name: path.read_bytes() for path in session.folder.rglob('*.json')}
        python, tool, *words = shlex.split(result.command)
        assert (python, tool) == ('python', 'tools/propagate.py')
        words[words.index('--out') + 1] = str(tmp_path / 'again/overlay.mp4')
        assert load_tool('propagate').main(words) == 0
        name = 'overlay_masks' if kind == 'masks' else 'overlay_points.json'
        again = tmp_path / 'again' / name
        files = sorted(again.iterdir()) if kind == 'masks' else [again]
        labels = sorted(result.labels.iterdir()) if kind == 'masks' else [result.labels]
        assert [path.read_bytes() for path in files] == [path.read_bytes() for path in labels]


def test_marks_belong_to_one_frame(session, masks):
    with pytest.raises(UserError, match='nothing is marked'):
        session.follow([COLOR])
    paint_square(session, 0)
    frame = session.frame(0)
    assert (session.marked(0) != frame).any()
    np.testing.assert_array_equal(session.marked(2), session.frame(2))
    session.point(2, 5, 5)
    assert (session.start, session.marks.kind) == (2, 'points')
    np.testing.assert_array_equal(session.marked(0), frame)
    session.undo()
    session.clear()
    with pytest.raises(UserError, match='nothing is marked'):
        session.follow([COLOR])
    session.paint(2, Stroke(0, 5, [(1, 1)]))
    with pytest.raises(UserError, match='nothing is marked'):
        session.follow([COLOR])
    with pytest.raises(UserError, match='no labels'):
        session.mark_labels(0)
    for number in (-1, LENGTH):
        with pytest.raises(UserError, match='frame'):
            session.frame(number)
        with pytest.raises(UserError, match='frame'):
            session.point(number, 1, 1)


def test_cancel_keeps_the_frames_before(session, masks):
    paint_square(session, 0)

    def stop_at_3(done, total):
        if done == 3:
            session.cancel()

    (result,) = session.follow([COLOR, COLOR], stop_at_3)
    assert result.cancelled and result.note == 'cancelled'
    assert 3 <= result.num_frames < LENGTH
    assert len(VideoFrames(result.overlay)) == len(list(result.labels.iterdir()))
    assert len(session.follow([COLOR, COLOR])) == 2


@pytest.mark.parametrize('end', ['cancel', 'close', 'open'])
def test_what_is_under_way_ends_after_its_frame(session, tmp_path, end):
    make_video(tmp_path / 'long.mp4', 30)
    session.open(Clip('long', str(tmp_path / 'long.mp4')))
    session.point(0, 20, 20)
    started, frames, results = threading.Event(), [], []

    def on_frame(done, total):
        frames.append(done)
        started.set()
        time.sleep(0.2)  # as slow as a real encoder

    def follow():
        results.extend(session.follow([COLOR], on_frame))

    thread = threading.Thread(target=follow)
    thread.start()
    assert started.wait(30)
    session.frame(1)  # can be looked at meanwhile
    assert thread.is_alive()
    before = len(frames)
    ended = getattr(session, end)(*[session.clip] * (end == 'open'))
    assert len(frames) <= before + 1
    thread.join(10)
    assert not thread.is_alive() and results[0].cancelled
    if end == 'cancel':
        assert ended and not session.cancel()  # nothing is under way any more


def test_labelled_objects_are_scored(session, samples):
    clip = samples['a (objects)']
    session.open(clip)
    session.mark_labels(0)
    (result,) = session.follow([COLOR])
    truth = np.stack([load_mask(path) for path in clip.truth['label_paths']])
    assert set(result.scores) == {'J&F', 'J', 'F'} and result.scores['J'] > 80
    assert score_masks(clip.truth, 0, truth) == {'J&F': 100, 'J': 100, 'F': 100}
    # Another id, and part of the object, are that object all the same; what lies beside is not.
    assert score_masks(clip.truth, 1, 9 * truth[1:])['J'] == 100
    half = truth.copy()
    half[1:, :28] = 0
    assert 40 < score_masks(clip.truth, 0, half)['J'] < 60
    assert score_masks(clip.truth, 0, np.roll(truth, 24, 1)) == {}
    assert score_masks(clip.truth, 3, truth[3:]) == {}
    session.paint(0, Stroke(2, 3, [(80, 60)]))
    (result,) = session.follow([COLOR])
    assert result.scores['J'] > 80


def test_labelled_joints_are_scored(session, samples):
    clip = samples['c (joints)']
    session.open(clip)
    session.mark_labels(1)
    assert session.marks.kind == 'points'
    (result,) = session.follow([COLOR])
    assert set(result.scores) == {'PCK@0.1', 'PCK@0.2'} and result.scores['PCK@0.2'] > 50
    joints = clip.truth['gt_points']
    assert score_points(clip.truth, 0, joints)['PCK@0.1'] == 100
    assert score_points(clip.truth, 0, joints[:, :3]) == {}
    session.point(1, 40, 40)
    (result,) = session.follow([COLOR])
    assert result.scores == {}


def test_the_cost_is_measured(session, masks):
    cost = session.cost(COLOR)
    assert cost.setting == 'videomac, input size 64, stride 4' and cost.seconds > 0
    assert cost.memory is None or 0 < cost.memory < 2**30
    session.point(0, 5, 5)
    assert session.cost(COLOR) == session.costs[1]
    with pytest.raises(ValueError, match='stride'):
        session.cost(Choice(parse_encoder('convnextv2_atto:random'), stage=3, stride=5))


def test_defaults_are_for_convnets_whose_spec_says_nothing(tiny):
    config = tiny.spec
    assert Choice(tiny).spec == f'{config}@stage=3,stride=16'
    assert Choice(tiny, stage=2, stride=8).spec == f'{config}@stage=2,stride=8'
    own = parse_encoder(f'{config}@stage=1+2,stride=4,stride_method=resample')
    assert Choice(own).spec == f'{config}@stage=1+2,stride=4,stride_method=resample'
    assert Choice(parse_encoder('color')).spec == 'color@stride=16'
    assert Choice(parse_encoder('color@stride=8')).spec == 'color@stride=8'
    assert Choice(parse_encoder('color'), stage=3, stride=4).spec == 'color@stride=4'
    vit = parse_encoder('timm:vit_tiny_patch16_224:random')
    assert 'stride=' not in Choice(vit).spec and 'stage=-1' in Choice(vit).spec


def test_a_pixel_is_found_in_another_frame(session, masks):
    picture = session.match(COLOR, 0, (20, 28), 3)
    assert picture.shape == (64, 96, 3)
    cross = (picture == (0, 255, 255)).all(-1)
    y, x = (int(places.mean()) for places in np.nonzero(cross))
    assert masks[3][y, x] and abs(x - (20 + 24)) < 8 and abs(y - 28) < 8
    colours = session.components(COLOR, [0, 3])
    assert [picture.shape for picture in colours] == [(64, 96, 3)] * 2
    inside, outside = (colours[1][masks[3] == i].mean(0) for i in (1, 0))
    assert np.abs(inside - outside).max() > 40
    for place in [(-5, -5), (1e6, 1e6)]:
        session.match(COLOR, 0, place, 1)


def test_uploads(session, tmp_path):
    write_video(tmp_path / 'new.mp4')
    session.open_upload(tmp_path / 'new.mp4', '../<script>alert(1)</script> new.mp4')
    assert session.clip.name == 'script_ new.mp4'
    assert (session.length, session.size, session.fps) == (LENGTH, (64, 96), 12.5)
    assert [path.name for path in session.folder.iterdir()] == ['upload.mp4']
    session.point(0, 20, 28)
    (result,) = session.follow([COLOR])
    assert shlex.split(result.command)[2] == 'script_ new.mp4'
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(UserError, match=r'^text\.mp4: the file cannot be opened as a video'):
        session.open_upload(tmp_path / 'text.mp4', 'text.mp4')
    assert session.clip.name == 'script_ new.mp4' and session.length == LENGTH
    assert (session.frame(1) >= 0).all()
    assert 'new.mp4' not in [path.name for path in session.folder.iterdir()]


def test_videos_that_are_too_much(session, tmp_path):
    Image.new('RGB', (5000, 4000)).save(tmp_path / 'huge.png')
    (tmp_path / 'frames').mkdir()
    (tmp_path / 'huge.png').rename(tmp_path / 'frames/0.png')
    with pytest.raises(UserError, match='5000x4000 pixels are too large'):
        session.open(Clip('huge', str(tmp_path / 'frames')))
    with pytest.raises(FileNotFoundError):
        session.open(Clip('none', str(tmp_path / 'none.mp4')))
    for call in (
        session.undo,
        session.clear,
        lambda: session.frame(0),
        lambda: session.cost(COLOR),
    ):
        with pytest.raises(UserError, match='no video is open'):
            call()


def test_a_damaged_frame_is_a_note(session, tmp_path):
    write_frames(tmp_path / 'frames')
    (tmp_path / 'frames/f3.png').write_text('broken')
    session.open(Clip('frames', str(tmp_path / 'frames')))
    session.point(0, 20, 28)
    (result,) = session.follow([COLOR])
    assert result.num_frames == 3 and 'f3.png' in result.note and not result.cancelled
    with pytest.raises(VideoReadError, match='f3'):
        session.frame(3)


def test_points_of_a_still_1080p_clip_stay_at_the_defaults(tmp_path, tiny):
    """Within 2 pixels, at what the demo chooses: stride 16 of 480 rows, 36 pixels of the clip."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 100, 3), dtype=np.uint8))
    frame = image.resize((1920, 1080), Image.Resampling.BICUBIC)
    for number in range(3):
        frame.save(tmp_path / f'{number}.jpg')
    corners = [[0, 0], [1919, 1079], [1000.5, 0]]
    points = [*rng.uniform(0, [1919, 1079], (20, 2)).tolist(), *corners]
    inferencer = LabelPropagationInferencer(Choice(tiny).spec, 'cpu')
    result = inferencer(tmp_path, first_points=points, show_progress=False)
    assert np.abs(result.labels - np.array(points).T[..., None]).max() < 2


def test_specs_of_choices_name_the_same_encoder(tiny):
    spec = Choice(tiny, stage=2).spec
    assert parse_encoder(spec).full_spec == spec
    assert Config(dict(model=parse_encoder(spec).model)).model.stage == 2
