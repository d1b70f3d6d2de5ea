"""Sample clips: exact labels, determinism, readable layouts."""

import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip('skimage')
scipy_io = pytest.importorskip('scipy.io')

TOOLS = Path(__file__).parents[3] / 'tools' / 'data'
FRAMES, SIZE, CLIPS = 11, (96, 128), 3


@pytest.fixture(scope='module')
def tool():
    """``tools/data/make_sample_videos.py`` as a module, with its folder importable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        spec = importlib.util.spec_from_file_location(
            'make_sample_videos', TOOLS / 'make_sample_videos.py'
        )
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope='module')
def samples(tool, tmp_path_factory):
    out = tmp_path_factory.mktemp('samples')
    assert tool.make_samples(out, CLIPS, FRAMES, SIZE, seed=3)
    return out


def clip(tool, layout, name):
    return next(c for c in tool.plan(CLIPS) if (c.layout, c.name) == (layout, name))


def contains(outline, points):
    """Even-odd rule by ray casting, independent of the renderer's rasteriser."""
    x, y = points[:, None, 0], points[:, None, 1]
    x0, y0 = outline.T
    x1, y1 = np.roll(outline, -1, 0).T
    crosses = (y0 > y) != (y1 > y)
    with np.errstate(divide='ignore', invalid='ignore'):
        right = x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return (crosses & right).sum(1) % 2 == 1


@pytest.mark.parametrize(
    ('layout', 'name', 'field'),
    [
        ('davis', 'coins-on-gravel', 'object_id'),
        ('davis', 'walker-in-street', 'object_id'),
        ('vip', 'videos2', 'part'),
    ],
)
def test_labels_are_where_geometry_says(tool, layout, name, field):
    """Each pixel centre, carried back into the texture, lies inside its layer's outline."""
    scene = clip(tool, layout, name).build(3, SIZE, FRAMES)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    for t in (0, FRAMES - 1):
        expected = np.zeros(rows.size, int)
        for layer in scene.layers:
            back = np.linalg.inv(scene.camera[t] @ layer.motion[t])
            inside = contains(layer.outline, (back @ centres)[:2].T)
            expected[inside] = getattr(layer, field)
        labels = scene.labels(t, field)
        assert len(np.unique(labels)) > 2
        # Rounding may decide differently on an edge itself.
        assert (labels.ravel() != expected).sum() <= 2


def test_frames_agree_with_labels(tool):
    """Recolouring one object changes the picture exactly where its label is."""
    scene = clip(tool, 'davis', 'helmet-and-cup-in-garage').build(3, SIZE, FRAMES)
    scene.noise = 0.0
    before, labels = scene.frame(5).astype(int), scene.labels(5, 'object_id')
    top = scene.layers[-1]
    top.texture = 255 - top.texture
    changed = np.abs(scene.frame(5) - before).max(-1) > 8
    inside = (labels == top.object_id).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    assert not changed[cv2.dilate(inside, kernel) == 0].any()
    assert changed[cv2.erode(inside, kernel) == 1].mean() > 0.8


def test_texture_moves_rigidly_with_its_object(tool):
    """Undoing an object's known motion gives the same picture of it in every frame."""
    scene = clip(tool, 'davis', 'coins-on-gravel').build(3, (240, 320), FRAMES)
    scene.noise = 0.0
    top = scene.layers[-1]
    height, width = top.texture.shape[:2]
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.round(top.outline).astype(np.int32)], 1)
    views = []
    for t in (0, FRAMES - 1):
        matrix = (scene.camera[t] @ top.motion[t])[:2]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        back = [
            cv2.warpAffine(image, matrix, (width, height), flags=flags)
            for image in (scene.frame(t), np.ones((240, 320), np.uint8))
        ]
        views.append(back[0])
        inside &= back[1]  # what is in the picture
    inside = cv2.erode(inside, np.ones((9, 9), np.uint8)) == 1
    assert inside.sum() > 1000
    difference = np.abs(views[0][inside].astype(float) - views[1][inside]).mean()
    assert difference < 8 < views[0][inside].std()


def test_joints_lie_on_their_limbs(tool):
    scene = clip(tool, 'jhmdb', 'jump/sample_person_jump_0').build(3, (240, 320), FRAMES)
    from sample_videos.figure import JOINTS, PARTS

    joints = scene.image_joints()
    assert joints.shape == (FRAMES, 15, 2)
    limbs = {
        'neck': {'torso-skin', 'upper-clothes', 'face'},
        'belly': {'upper-clothes'},
        'head': {'face'},
        'right_shoulder': {'upper-clothes'},
        'left_shoulder': {'upper-clothes'},
        'right_elbow': {'upper-clothes', 'right-arm'},
        'left_elbow': {'upper-clothes', 'left-arm'},
        'right_wrist': {'right-arm'},
        'left_wrist': {'left-arm'},
        'right_knee': {'right-leg'},
        'left_knee': {'left-leg'},
        'right_ankle': {'right-leg', 'right-shoe'},
        'left_ankle': {'left-leg', 'left-shoe'},
    }
    for t in range(FRAMES):
        parts = scene.labels(t, 'part')
        for name, allowed in limbs.items():
            x, y = np.round(joints[t, JOINTS.index(name)]).astype(int)
            assert PARTS[parts[y, x]] in allowed, (t, name)


def test_limbs_keep_their_length(tool):
    from sample_videos.figure import JOINTS, SHIN, THIGH, skeleton, walk

    cycles = np.linspace(0, 1.3, 20)
    joints = skeleton(walk(cycles, 5 * cycles, np.full(20, 200.0), 1), 180.0)
    assert set(JOINTS) <= set(joints)
    for side in ('right', 'left'):
        hip, knee, ankle = (joints[f'{side}_{name}'] for name in ('hip', 'knee', 'ankle'))
        np.testing.assert_allclose(np.linalg.norm(knee - hip, axis=1), 180 * THIGH)
        np.testing.assert_allclose(np.linalg.norm(ankle - knee, axis=1), 180 * SHIN)


@pytest.mark.parametrize('seed', range(4))
def test_every_object_can_be_seen_in_the_first_frame(tool, seed):
    for item in tool.plan(CLIPS):
        if item.layout == 'davis':
            scene = item.build(seed, SIZE, FRAMES)
            expected = {0} | {layer.object_id for layer in scene.layers}
            assert set(np.unique(scene.labels(0, 'object_id'))) == expected


def test_davis_layout(samples):
    root = samples / 'davis'
    names = (root / 'ImageSets/2017/val.txt').read_text().split()
    assert 'coins-on-gravel' in names
    for name in names:
        images = sorted((root / 'JPEGImages/480p' / name).glob('*.jpg'))
        masks = sorted((root / 'Annotations/480p' / name).glob('*.png'))
        assert [p.stem for p in images] == [p.stem for p in masks]
        assert [p.stem for p in masks] == [f'{t:05d}' for t in range(FRAMES)]
        mask = Image.open(masks[0])
        assert mask.mode == 'P' and mask.size == SIZE[::-1]
        assert mask.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        assert np.asarray(mask).max() >= 2


def test_vip_layout(samples):
    root = samples / 'vip/VIP_Fine'
    for name in (root / 'lists/val_videos.txt').read_text().split():
        images = sorted(path.stem for path in (root / 'Images' / name).iterdir())
        masks = sorted((root / 'Annotations/Category_ids' / name).iterdir())
        assert images == [path.stem for path in masks] and len(images) == 3
        parts = np.asarray(Image.open(masks[0]))
        assert parts.shape == SIZE and parts.max() <= 19 and len(np.unique(parts)) >= 8


def test_jhmdb_layout(samples):
    root = samples / 'jhmdb'
    found = 0
    for split in sorted((root / 'splits').glob('*_test_split1.txt')):
        action = split.name.removesuffix('_test_split1.txt')
        for line in split.read_text().splitlines():
            name, which = line.split()
            assert which == '2'
            stem = name.removesuffix('.avi')
            images = sorted((root / 'Rename_Images' / action / stem).iterdir())
            assert [p.name for p in images] == [f'{t:05d}.png' for t in range(1, FRAMES + 1)]
            mat = scipy_io.loadmat(root / 'joint_positions' / action / stem / 'joint_positions.mat')
            assert mat['pos_img'].shape == (2, 15, FRAMES)
            found += 1
    assert found == 4


def test_jhmdb_positions_are_one_based(tool, samples):
    item = clip(tool, 'jhmdb', 'wave/sample_person_wave_0')
    joints = item.build(3, SIZE, FRAMES).image_joints()
    mat = scipy_io.loadmat(samples / 'jhmdb/joint_positions' / item.name / 'joint_positions.mat')
    np.testing.assert_allclose(mat['pos_img'], joints.transpose(2, 1, 0) + 1)


def test_videos_can_be_read(samples):
    decord = pytest.importorskip('decord')
    videos = sorted((samples / 'videos').iterdir())
    assert len(videos) == CLIPS
    for path in videos:
        reader = decord.VideoReader(str(path), num_threads=1)
        assert len(reader) == FRAMES
        frames = reader.get_batch(range(FRAMES)).asnumpy()
        assert frames.shape == (FRAMES, *SIZE, 3)
        assert np.abs(np.diff(frames.astype(int), axis=0)).mean((1, 2, 3)).min() > 0.5


def test_same_arguments_same_files(tool, samples, tmp_path):
    tool.make_samples(tmp_path, CLIPS, FRAMES, SIZE, seed=3)
    files = json.loads((samples / 'manifest.json').read_text())['files']
    assert len(files) > 100
    for name in files:
        # The text header of a .mat file, 116 bytes, holds the time of writing.
        start = 116 if name.endswith('.mat') else 0
        again, first = (folder / name for folder in (tmp_path, samples))
        assert again.read_bytes()[start:] == first.read_bytes()[start:], name
    other = clip(tool, 'davis', 'coins-on-gravel')
    assert (other.build(4, SIZE, 2).frame(0) != other.build(3, SIZE, 2).frame(0)).any()


def test_complete_set_is_kept_and_partial_set_redone(tool, tmp_path):
    small = dict(clips=1, frames=2, size=(64, 64))
    assert tool.make_samples(tmp_path, **small)
    stranger = tmp_path / 'videos' / 'mine.mp4'
    stranger.write_bytes(b'mine')
    assert not tool.make_samples(tmp_path, **small)
    (tmp_path / 'davis/ImageSets/2017/val.txt').unlink()
    assert tool.make_samples(tmp_path, **small)
    assert tool.make_samples(tmp_path, **(small | dict(clips=3, frames=7)))
    assert tool.make_samples(tmp_path, **small)
    # What other arguments had made is gone, what others put there is not.
    assert not (tmp_path / 'davis/JPEGImages/480p/coins-on-gravel/00002.jpg').exists()
    assert len(list((tmp_path / 'vip/VIP_Fine/Images/videos1').iterdir())) == 1
    assert len(list((tmp_path / 'videos').iterdir())) == 2
    assert stranger.read_bytes() == b'mine'


def test_photographs_come_from_the_installed_package(tool):
    """Every photograph in use is a file of the wheel: opening needs no downloader."""
    from importlib.resources import files

    from sample_videos import photos

    used = {source for source, _ in photos.CUTOUTS.values()}
    used |= {swatch[0] for swatch in photos._SWATCHES.values()}
    assert used <= set(photos.CREDITS)
    for name in photos.CREDITS:
        assert (files('skimage.data') / name).is_file()
        assert photos.photo(name).ndim == 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--size', '62x320'], 'at least 64'),
        (['--size', '65x128'], 'even'),
        (['--clips', '0'], 'at least 1 clip'),
    ],
)
def test_bad_arguments(tool, tmp_path, capsys, arguments, message):
    assert tool.main([str(tmp_path / 'out'), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_size_that_decord_cannot_read(tool, tmp_path, capsys):
    status = tool.main([str(tmp_path), '--clips', '1', '--frames', '2', '--size', '64x96'])
    message = capsys.readouterr().err
    assert status == 0 or '--size' in message  # a later decord may read it


def test_unwritable_folder(tool, tmp_path, capsys):
    blocked = tmp_path / 'file'
    blocked.write_text('not a folder')
    assert tool.main([str(blocked / 'out')]) == 1
    assert str(blocked / 'out') in capsys.readouterr().err
