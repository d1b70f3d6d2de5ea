"""Readers of files that a stranger may have made, on damaged and on hostile ones.

They raise what a tool reports in one message, open nothing outside their folder, and take
memory in proportion to the file. A few hundred cases here, always the same; thousands by

    pytest tests/test_hostile_files.py --hypothesis-profile=thousands --hypothesis-seed=1
"""

import io
import json
import os
import resource
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from mmvideomac.apis.first_label import first_mask, first_points
from mmvideomac.checkpoint.encoder_config import saved_config
from mmvideomac.checkpoint.files import find_latest_checkpoint, read_checkpoint, read_meta
from mmvideomac.datasets import DecordReader, FrameFolderReader, VideoIndex, VideoInfo
from mmvideomac.datasets.frame_files import NOTE, read_note
from mmvideomac.datasets.labelled_clips import DAVISDataset, JHMDBDataset, VIPDataset
from mmvideomac.datasets.labelled_clips.frames import frame_size
from mmvideomac.datasets.labelled_clips.jhmdb import load_joints
from mmvideomac.datasets.labelled_clips.masks import encode_mask, read_mask
from mmvideomac.datasets.preparation.archives import unpack
from mmvideomac.datasets.preparation.kinetics import read_index
from mmvideomac.datasets.video_index import VideoFile
from mmvideomac.datasets.video_list import select_videos
from mmvideomac.evaluation.clip_scores import ClipScores
from mmvideomac.utils.errors import REPORTED_ERRORS
from mmvideomac.version import __version__
from tests.test_datasets.helpers import make_video
from tests.test_evaluation.clips import write_davis, write_jhmdb, write_vip

_MEMORY = 256  # MiB that all cases of a reader may add
# Imports on first use, and what the system tells of itself.
_HARMLESS = (sys.prefix, sys.base_prefix, '/proc', '/sys', '/dev', '/usr', '/lib', '/etc')
_watched = []  # paths opened while a case runs, or nothing


def _note_open(event, args):
    if event == 'open' and _watched and isinstance(args[0], str | bytes | os.PathLike):
        _watched.append(os.fsdecode(args[0]))


sys.addaudithook(_note_open)
fuzz = settings(suppress_health_check=list(HealthCheck))


def run(reader, root: Path) -> None:
    """Call a reader: all it may do is to raise a reported error."""
    _watched.append('')
    try:
        reader()
    except REPORTED_ERRORS as error:
        assert str(error)
    finally:
        opened = list(filter(None, _watched))
        _watched.clear()
    repository = str(Path(__file__).parents[1])
    inside = (os.path.realpath(root), str(root), repository, *_HARMLESS)
    assert not [p for p in opened if os.path.isabs(p) and not os.path.abspath(p).startswith(inside)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('hostile') / 'root'


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(VideoIndex, '_save', lambda self, known: None)


@pytest.fixture(autouse=True)
def bounded_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert added < _MEMORY, f'{added:.0f} MiB'


# ------------------------------------------------------------------ files


def _image(kind, **options):
    pixels = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _mask():
    return encode_mask(np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 5)


def _mat(*frames, **options):
    file = io.BytesIO()
    savemat(file, dict(pos_img=np.ones((2, 15, *frames)), scale=np.ones(3), name='a'), **options)
    return file.getvalue()


def _saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


_CHECKPOINT = dict(
    meta=dict(cfg="model = dict(backbone=dict(type='VGG'))", iter=np.float64(3)),
    state_dict={'backbone.a': torch.arange(6.0), 'b': torch.ones(2, 2)},
    optimizer={},
)


def _safetensors():
    from safetensors.torch import save

    return save({'a': torch.arange(6.0), 'b': torch.ones(2, 2)}, dict(epoch='3'))


def _zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a/b.txt', 'text' * 50)
        archive.writestr('c.txt', 'text')
    return file.getvalue()


def _tar(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name in ('a/b.txt', 'c.txt'):
            member = tarfile.TarInfo(name)
            member.size = 200
            archive.addfile(member, io.BytesIO(b'text' * 50))
    return file.getvalue()


def _video(suffix):
    path = make_video(Path(os.environ['PYTEST_VIDEOS'], f'a{suffix}'), 4)
    return path.read_bytes()


def _read_frames(path):
    folder, reader = os.path.dirname(path), FrameFolderReader()
    reader.probe(folder)
    reader.read(folder, [0])


def _read_images(path):
    readers = (_read_frames, frame_size, read_mask, lambda path: first_mask(path, (24, 32)))
    for read in readers:
        with suppress(*REPORTED_ERRORS):
            read(str(path))


def _read_video(path):
    info = DecordReader().probe(str(path))
    DecordReader().read(str(path), [0, info.num_frames - 1])


def _read_checkpoint(path):
    find_latest_checkpoint(path.parent)
    with suppress(*REPORTED_ERRORS):
        saved_config(read_meta(path))
    read_checkpoint(path)


def _index(content=None):
    known = dict(a=['video', 1, 2, 10, 20, 30, 25.0]) if content is None else content
    header = dict(format=2, root='ROOT', readers=dict(video='_NoReader'))
    return json.dumps({**header, 'videos': known}).encode()


class _NoReader:
    def probe(self, path):
        return VideoInfo(1, 2, 3, None)


def _read_video_index(path):
    index = VideoIndex(str(path.parent), dict(video=_NoReader()), str(path.parent))
    root = json.dumps(index.root).encode()
    Path(index.cache_file).write_bytes(path.read_bytes().replace(b'"ROOT"', root))
    (info,) = index.probe([VideoFile('a', 'a', 'video', (1, 2))]).values()
    frames, height, width, fps = info
    assert min(frames, height, width) > 0 and (fps is None or fps > 0)


def _read_scores(path):
    ClipScores(path.parent).read(path.stem, 's')


_SCORES = json.dumps(dict(version=__version__, signature='s', scores=dict(J=[[0.5]]))).encode()

#: Name of the file -> content that is right, and reader.
FILES = {
    '0.png': (lambda: _image('PNG'), _read_images),
    '0.jpg': (lambda: _image('JPEG'), _read_images),
    '0.webp': (lambda: _image('WEBP'), _read_images),
    '0.tif': (lambda: _image('TIFF', compression='tiff_deflate'), _read_images),
    '0.bmp': (lambda: _image('BMP'), _read_images),
    '0.ppm': (lambda: _image('PPM'), _read_images),
    'mask.png': (_mask, _read_images),
    'joints.mat': (lambda: _mat(4), load_joints),
    'compressed.mat': (lambda: _mat(4, do_compression=True), load_joints),
    'old.mat': (lambda: _mat(format='4'), load_joints),
    'a.pth': (lambda: _saved(_CHECKPOINT), _read_checkpoint),
    'old.pth': (
        lambda: _saved(_CHECKPOINT, _use_new_zipfile_serialization=False),
        _read_checkpoint,
    ),
    'a.safetensors': (_safetensors, _read_checkpoint),
    'last_checkpoint': (lambda: b'epoch_1.pth', lambda path: find_latest_checkpoint(path.parent)),
    'a.zip': (_zip, lambda path: unpack(path, path.parent / 'out')),
    'a.tar': (lambda: _tar('w'), lambda path: unpack(path, path.parent / 'out')),
    'a.tar.gz': (lambda: _tar('w:gz'), lambda path: unpack(path, path.parent / 'out')),
    'a.tar.xz': (lambda: _tar('w:xz'), lambda path: unpack(path, path.parent / 'out')),
    'index.json': (_index, _read_video_index),
    'points.json': (lambda: b'{"a": [1, 2], "b": [3, 4]}', lambda p: first_points(p, (24, 32))),
    NOTE: (lambda: b'{"fps": 25.0}', lambda path: read_note(path.parent)),
    'scores.json': (lambda: _SCORES, _read_scores),
    'k400.txt': (lambda: b'https://a.b/c/d.tar.gz\nhttps://a.b/e.tar', read_index),
    'a.avi': (lambda: _video('.avi'), _read_video),
    'a.mp4': (lambda: _video('.mp4'), _read_video),
}


_CONTENT = {}  # of FILES, made when it is wanted


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Content with some bytes replaced, left out, repeated or set to the extremes of a number."""
    data = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 2, 4, 8, 100]))
        new = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from([b'', b'\0' * length, b'\xff' * length, b'\x7f' + b'\xff' * 3]),
                st.just(bytes(data[: 10 * length])),
            )
        )
        data[at : at + length] = new
    if draw(st.booleans()):
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


@pytest.mark.parametrize('name', FILES)
@fuzz
@given(data=st.data())
def test_damaged_files(folder, name, data):
    make, read = FILES[name]
    root = folder / name.strip('.')
    root.mkdir(parents=True, exist_ok=True)
    os.environ['PYTEST_VIDEOS'] = str(root)
    if name not in _CONTENT:
        _CONTENT[name] = make()
        (root / name).write_bytes(_CONTENT[name])
        read(root / name)
    (root / name).write_bytes(data.draw(damaged(_CONTENT[name]) | st.binary(max_size=64)))
    run(lambda: read(root / name), root)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**400, -1, 0, '..', '/', 's']),
    lambda inner: (
        st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from('aJ'), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize('name', ['index.json', 'points.json', NOTE, 'scores.json'])
@fuzz
@given(content=_JSON)
def test_json_of_another_form(folder, name, content):
    root = folder / f'json_{name.strip(".")}'
    root.mkdir(parents=True, exist_ok=True)
    path, text = root / name, json.dumps(content).encode()
    for wrapped in (
        text,
        _index(content),
        _index(dict(a=content)),
        b'{"fps": %s}' % text,
        b'{"version": "%s", "signature": "s", "scores": %s}' % (__version__.encode(), text),
    ):
        path.write_bytes(wrapped)
        run(lambda: FILES[name][1](path), root)


# ------------------------------------------------------------------ names

_PART = st.sampled_from(
    [
        '..',
        '.',
        '',
        'a',
        'v',
        'c',
        'secret',
        '/',
        '\\',
        'C:',
        '\0',
        '~',
        ' ',
        'x' * 300,
        '\u2028',
        'é',
    ]
)
_NAME = st.lists(_PART, max_size=5).map(''.join) | st.lists(_PART, max_size=5).map('/'.join)


@pytest.fixture(scope='module')
def clips(folder):
    """Clips of three data sets, and files beside them that no list may lead to."""
    roots = dict(
        davis=write_davis(folder / 'davis', 1),
        vip=write_vip(folder / 'vip'),
        jhmdb=write_jhmdb(folder / 'jhmdb'),
    )
    write_davis(folder.parent / 'secret', 1)
    return roots


@fuzz
@given(names=st.lists(_NAME, max_size=3))
def test_names_of_lists_stay_in_the_folder(clips, names):
    text = '\n'.join(names).encode()
    root = clips['davis']
    (root / 'ImageSets/2017/val.txt').write_bytes(text)
    run(lambda: DAVISDataset(str(root)), root)
    root = clips['vip']
    (root / 'VIP_Fine/lists/val_videos.txt').write_bytes(text)
    run(lambda: VIPDataset(str(root)), root)
    root = clips['jhmdb']
    lines = '\n'.join(f'{name}.avi 2' for name in names)
    (root / 'splits/wave_test_split1.txt').write_bytes(lines.encode())
    run(lambda: JHMDBDataset(str(root)), root)
    videos = [VideoFile(f'{root}/{name}', name, 'video', (1, 1)) for name in ('a', 'c/v.mp4')]
    (root / 'list.txt').write_bytes(text)
    run(lambda: select_videos(videos, str(root / 'list.txt')), root)


@fuzz
@given(name=_NAME, kind=st.sampled_from(['file', 'link', 'hard link', 'folder']), link=_NAME)
def test_names_of_archives_stay_in_the_folder(folder, name, kind, link):
    root = folder / 'archive'
    root.mkdir(parents=True, exist_ok=True)
    before = set(folder.parent.rglob('*'))
    with tarfile.open(root / 'a.tar', 'w', format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(name.replace('\0', ''))
        kinds = dict(file=b'0', folder=b'5') | {'link': b'2', 'hard link': b'1'}
        member.type, member.linkname = kinds[kind], link.replace('\0', '')
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo(f'{name}/in it'.replace('\0', '')))
    with zipfile.ZipFile(root / 'a.zip', 'w') as archive:
        archive.writestr(zipfile.ZipInfo(name or 'a'), 'text')
    for archive in ('a.tar', 'a.zip'):
        run(lambda archive=archive: unpack(root / archive, root / 'out'), root)
    new = set(folder.parent.rglob('*')) - before
    assert not [path for path in new if root not in (path, *path.parents)]


@fuzz
@given(text=st.text(alphabet='adict(){}[]=\'",:.5-\n*#\0 ', max_size=80))
def test_settings_of_checkpoints(folder, text):
    for meta in (dict(cfg=text), dict(cfg=f'model = {text}'), dict(encoder=text)):
        run(lambda meta=meta: saved_config(dict(meta, target='mmpretrain')), folder)


@fuzz
@given(
    shape=st.lists(st.sampled_from([0, 1, 2, 15, 16]), min_size=1, max_size=4),
    kind=st.sampled_from('fdiQbUO?'),
)
def test_joints_of_another_form(folder, shape, kind):
    root = folder / 'mat'
    root.mkdir(parents=True, exist_ok=True)
    savemat(root / 'a.mat', dict(pos_img=np.zeros(shape).astype(kind)), do_compression=True)
    run(lambda: load_joints(root / 'a.mat'), root)
