"""Each data set from small archives in the form of its owners' to what its dataset reads."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mmvideomac.datasets import DAVISDataset, FramePairDataset, JHMDBDataset, VIPDataset
from mmvideomac.datasets.preparation import SOURCES
from mmvideomac.datasets.preparation import kinetics as kinetics_module
from mmvideomac.datasets.preparation import youtube_vos as youtube_vos_module
from mmvideomac.datasets.preparation.davis import DAVIS2016, DAVIS2017
from mmvideomac.datasets.preparation.free_clips import FreeClips
from mmvideomac.datasets.preparation.jhmdb import JHMDB
from mmvideomac.datasets.preparation.kinetics import Kinetics, read_index
from mmvideomac.datasets.preparation.vip import VIP
from mmvideomac.datasets.preparation.youtube_vos import YouTubeVOS
from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import UserError
from tests.test_datasets.helpers import make_frames, make_video, real_data
from tests.test_datasets.test_labelled_clips.layouts import (
    blank_masks,
    joints,
    save_frame,
    save_mask,
    write_davis,
    write_jhmdb,
    write_vip,
)
from tests.test_engine.tiny import REPOSITORY

from .server import served, tar_of, zip_of


def problem(source, folder, subset=False):
    (text,) = source.problems(folder, subset)
    return text


# ------------------------------------------------------------------ descriptions


@pytest.mark.parametrize('name', SOURCES)
def test_descriptions(name):
    source = SOURCES[name]
    text = source.describe(Path(source.folder), source.has_subset)
    assert source.page in text and source.licence in re.sub(r'\s+', ' ', text)
    assert 'licence' in text and 'terms' in text and source.folder in text
    for part in source.wanted(source.has_subset):
        assert part.name in text
        if part.url:
            assert part.url in text
            assert urlsplit(part.url).path.endswith(part.pattern or part.name)
        else:
            assert source.hint
        assert not part.digest or re.fullmatch(r'md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}', part.digest)


@pytest.mark.parametrize(
    ('config', 'name'),
    [
        ('videomac_cnxv2s_yt18', 'youtube_vos'),
        ('videomac_cnxv2s_k400', 'kinetics'),
        ('videomac_cnxv2a_free_clips', 'free_clips'),
        ('benchmarks/davis2017/dino', 'davis2017'),
        ('benchmarks/vip/dino', 'vip'),
        ('benchmarks/jhmdb/dino', 'jhmdb'),
    ],
)
def test_folders_are_those_of_the_configs(config, name):
    cfg = load_config(REPOSITORY / 'configs' / f'{config}.py')
    dataset = (cfg.get('train_dataloader') or cfg.test_dataloader).dataset
    folder = SOURCES[name].folder
    below = dict(
        youtube_vos='/train/JPEGImages', kinetics='/videos_train', free_clips='_frames'
    ).get(name, '')
    assert dataset.data_root == folder + below
    if name == 'kinetics':
        assert dataset.ann_file == f'{folder}/{SOURCES[name].subset_file}'


# ------------------------------------------------------------------ labelled clips


@pytest.fixture
def davis(tmp_path):
    masks = dict(swan=blank_masks(), tree=blank_masks(5, objects=1))
    return write_davis(tmp_path / 'DAVIS', masks)


def test_davis_2017(server, davis, tmp_path):
    source = served(server, DAVIS2017(), {'DAVIS-2017-trainval-480p.zip': zip_of(davis, 'DAVIS/')})
    source.clips, folder = 2, tmp_path / 'davis'
    source.prepare(folder)
    assert len(DAVISDataset(str(folder))) == 2
    shutil.rmtree(folder / '.downloads')  # as if from elsewhere
    assert source.problems(folder) == []
    (folder / 'Annotations/480p/swan/00002.png').unlink()
    assert 'sequence swan: 1 of 4 files have no mask' in problem(source, folder)
    shutil.rmtree(folder / 'JPEGImages/480p/tree')
    assert problem(source, folder).endswith('1 of 4 folders of the sequences in '
        f'{folder}/ImageSets/2017/val.txt are missing: JPEGImages/480p/tree')  # fmt: skip
    (folder / 'ImageSets/2017/val.txt').unlink()
    assert problem(source, folder).startswith('there is no list')


def test_davis_2016(server, tmp_path):
    root = write_davis(tmp_path / 'DAVIS', dict(swan=255 * blank_masks(objects=1)), mode='L')
    shutil.rmtree(root / 'ImageSets')
    lines = [
        f'/JPEGImages/480p/swan/{t:05d}.jpg /Annotations/480p/swan/{t:05d}.png \n' for t in range(4)
    ]
    (root / 'ImageSets/480p').mkdir(parents=True)
    (root / 'ImageSets/480p/val.txt').write_text(''.join(lines))
    source = served(server, DAVIS2016(), {'DAVIS-data.zip': zip_of(root, 'DAVIS/')})
    source.clips, folder = 1, tmp_path / 'davis2016'
    source.prepare(folder)
    dataset = DAVISDataset(str(folder), year='2016')
    assert dataset[0]['data_samples'].binary_masks and len(dataset) == 1


@pytest.mark.parametrize('prefix', ['', 'VIP_Fine/', 'VIP/VIP_Fine/'])
def test_vip(tmp_path, prefix):
    root = write_vip(tmp_path / 'VIP', dict(videos1=blank_masks(), videos2=blank_masks()))
    (tmp_path / 'given').mkdir()
    archive = tmp_path / 'given' / 'VIP_Fine (1).zip'
    archive.write_bytes(zip_of(root / 'VIP_Fine', prefix))
    source, folder = VIP(), tmp_path / 'vip'
    source.clips = 2
    with pytest.raises(UserError, match=r'^VIP_Fine\*: .*sysu-hcp.*--from'):
        source.prepare(folder)
    source.prepare(folder, archive.parent)
    assert len(VIPDataset(str(folder))) == 2
    shutil.rmtree(folder / 'VIP_Fine/Annotations/Category_ids/videos2')
    shutil.rmtree(folder / '.downloads')
    assert 'are missing: Annotations/Category_ids/videos2' in problem(source, folder)


def test_jhmdb(server, tmp_path):
    root = write_jhmdb(tmp_path / 'jhmdb_content', {'wave/a_wave': joints(3), 'jump/b': joints(3)})
    contents = {
        'Rename_Images.tar.gz': tar_of(root / 'Rename_Images', 'Rename_Images/'),
        'joint_positions.zip': zip_of(root / 'joint_positions', 'joint_positions/'),
        'splits.zip': zip_of(root / 'splits', 'splits/'),
    }
    source, folder = served(server, JHMDB(), contents), tmp_path / 'jhmdb'
    source.clips = 2
    source.prepare(folder)
    assert len(JHMDBDataset(str(folder))) == 2
    shutil.rmtree(folder / '.downloads')
    (folder / 'joint_positions/jump/b/joint_positions.mat').unlink()
    assert '1 of 2 files of joints are missing: joint_positions/jump/b' in problem(source, folder)
    source.clips = 3
    shutil.copytree(root / 'joint_positions', folder / 'joint_positions', dirs_exist_ok=True)
    assert problem(source, folder) == '2 test clips of split 1 are listed, not 3: a part of the set'
    shutil.rmtree(folder / 'splits')
    assert 'names a test clip' in problem(source, folder)


# ------------------------------------------------------------------ unlabelled videos


def write_youtube_vos(root, split, videos):
    """Videos of so many frames, of which the first object is in all, the second in the last."""
    meta = {}
    for name, count in videos.items():
        frames = [f'{5 * t:05d}' for t in range(count)]
        for frame in frames:
            save_frame(root / split / f'JPEGImages/{name}/{frame}.jpg')
            save_mask(root / split / f'Annotations/{name}/{frame}.png', blank_masks()[0])
        objects = {'1': dict(category='owl', frames=frames), '2': dict(frames=frames[-1:])}
        meta[name] = dict(objects=objects)
    (root / split / 'meta.json').write_text(json.dumps(dict(videos=meta)))


@pytest.fixture
def youtube_vos(tmp_path):
    """A source, and a folder with archives of 6, 3 and 3 seconds."""
    root, given = tmp_path / 'content', tmp_path / 'given'
    given.mkdir()
    for split, videos in dict(train=dict(a=18, b=18), valid=dict(c=18), test=dict(d=18)).items():
        write_youtube_vos(root, split, videos)
        (given / f'{split}.zip').write_bytes(zip_of(root / split, f'{split}/'))
    source = YouTubeVOS()
    source.videos = 2
    return source, given


def test_youtube_vos(youtube_vos, tmp_path):
    source, given = youtube_vos
    folder = tmp_path / 'youtube_vos'
    with pytest.raises(UserError, match=r'^train\.zip: .*Join, and fetch.*--from'):
        source.prepare(folder)
    source.prepare(folder, given)
    assert FramePairDataset(str(folder / 'train/JPEGImages')).num_videos == 2
    assert not (folder / 'valid').exists()
    shutil.rmtree(folder / '.downloads')
    (folder / 'train/JPEGImages/b/00005.jpg').unlink()
    (folder / 'train/Annotations/b/00010.png').unlink()
    assert source.problems(folder) == [
        '1 of 36 frames are missing: b/00005.jpg',
        '1 of 36 masks are missing: b/00010.png',
    ]
    source.videos = 3471
    assert 'lists 2 videos, not 3471: a part' in source.problems(folder)[-1]
    (folder / 'train/meta.json').write_text('{"videos": {"a": 3}}')
    assert 'does not list videos, their objects and frames' in problem(source, folder)
    (folder / 'train/meta.json').unlink()
    assert 'meta.json cannot be read (No such file' in problem(source, folder)


def test_hours_of_youtube_vos(youtube_vos, tmp_path, monkeypatch):
    source, given = youtube_vos
    folder = tmp_path / 'youtube_vos'
    monkeypatch.setattr(youtube_vos_module, 'VIDEOMAC_HOURS', 8 / 3600)
    source.prepare(folder, given, subset=True)
    list_file = folder / 'drawn_5.58h.txt'
    text = list_file.read_text()
    assert text.startswith('# 0.003 hours, 3 of 4 videos, drawn with seed 0\n')
    assert FramePairDataset(str(folder), ann_file='drawn_5.58h.txt').num_videos == 3
    assert source.problems(folder, subset=True) == []
    source.install(kinetics_module.Workspace(folder), subset=True)
    assert list_file.read_text() == text
    monkeypatch.setattr(youtube_vos_module, 'VIDEOMAC_HOURS', 5.58)  # more than there is
    source.install(kinetics_module.Workspace(folder), subset=True)
    assert ' 4 of 4 videos' in list_file.read_text()
    list_file.unlink()
    assert 'drawn_5.58h.txt does not exist' in problem(source, folder, subset=True)
    assert source.problems(folder) == []


@pytest.fixture
def free_clips(server):
    """The first three clips, of a few bytes each."""
    source, server.kind = FreeClips(), 'video/mp4'
    source.parts = source.parts[:3]
    server.files = {clip.name: f'video of {clip.name}'.encode() for clip in source.parts}
    source.parts = tuple(
        replace(
            clip,
            url=server.url(clip.name),
            size=len(server.files[clip.name]),
            digest=f'sha256:{hashlib.sha256(server.files[clip.name]).hexdigest()}',
        )
        for clip in source.parts
    )
    return source


def test_free_clips(server, free_clips, tmp_path):
    folder = tmp_path / 'free_clips'
    first, second, third = server.files
    free_clips.prepare(folder)
    for name, content in server.files.items():
        assert (folder / name).read_bytes() == content
    assert free_clips.problems(folder) == [] and len(server.requests) == 3
    (folder / first).unlink()
    (folder / second).write_bytes(server.files[second][:-1])
    lost = f'{first}, {second}'
    assert problem(free_clips, folder) == f'2 of 3 clips are missing or damaged: {lost}'
    free_clips.prepare(folder)
    assert free_clips.problems(folder) == [] and len(server.requests) == 5
    (folder / third).write_bytes(server.files[third][::-1])  # as long
    assert problem(free_clips, folder) == f'1 of 3 clips are missing or damaged: {third}'
    free_clips.prepare(folder)
    assert server.requests[5:] == [(third, None)] and free_clips.problems(folder) == []


def test_free_clips_by_other_hands(server, free_clips, tmp_path):
    given, folder = tmp_path / 'given', tmp_path / 'free_clips'
    given.mkdir()
    clip, other = free_clips.parts[:2]
    (given / clip.pattern).write_bytes(server.files[clip.name])  # as its repository calls it
    (given / other.pattern).write_bytes(b'another')
    with pytest.raises(UserError, match=rf'{other.pattern} is damaged, or not the file.*Fetch it'):
        free_clips.prepare(folder, given)
    (given / other.pattern).unlink()
    server.files[other.name] = server.files[other.name][::-1]
    with pytest.raises(UserError, match=rf'{other.name} is damaged.*changed it. It was removed'):
        free_clips.prepare(folder, given)
    named = ', '.join(clip.name for clip in free_clips.parts[1:])
    assert problem(free_clips, folder) == f'2 of 3 clips are missing or damaged: {named}'
    assert [name for name, _ in server.requests] == [other.name]


def test_free_clips_are_pinned_and_free():
    source = SOURCES['free_clips']
    for clip in source.parts:
        assert re.match(r'https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/', clip.url)
        assert clip.size and clip.digest.startswith('sha256:')
    assert len({clip.name for clip in source.parts}) == len({clip.digest for clip in source.parts})
    licences = {row.split(', ')[1].split(':')[0] for _, row in source.further_rows(False)}
    assert licences == {'Apache-2.0', 'BSD-3-Clause', 'CC BY 4.0', 'MIT'}


def test_free_clips_in_the_real_data():
    assert SOURCES['free_clips'].problems(real_data('videos')) == []


@pytest.fixture
def kinetics(server, tmp_path):
    """Three archives of two videos of 1.2 seconds each."""
    source = Kinetics()
    for part in range(3):
        folder = tmp_path / f'part_{part}'
        for i in range(2):
            make_video(folder / f'{part}x{i}_000010_000020.mp4', 12)
        server.files[f'part_{part}.tar.gz'] = tar_of(folder, './')
    lines = ''.join(server.url(f'part_{part}.tar.gz') + '\n' for part in range(3))
    server.files[source.index.name] = lines.encode()
    server.kind = 'text/plain'
    source.index = replace(source.index, url=server.url(source.index.name))
    return source


def test_kinetics(server, kinetics, tmp_path):
    folder = tmp_path / 'kinetics400'
    kinetics.prepare(folder)
    assert FramePairDataset(str(folder / 'videos_train')).num_videos == 6
    assert len(server.requests) == 4
    kinetics.prepare(folder)
    assert len(server.requests) == 4
    note = folder / '.downloads/part_1.tar.gz.json'
    note.unlink()
    assert problem(kinetics, folder) == '1 of 3 archives are not unpacked: part_1.tar.gz'
    kinetics.prepare(folder)
    assert server.requests[4:] == [('part_1.tar.gz', None)]


def test_kinetics_from_elsewhere(tmp_path):
    folder, source = tmp_path / 'kinetics400', Kinetics()
    assert 'does not exist' in problem(source, folder)
    for i in range(3):
        make_frames(folder / f'videos_train/walking/{i}', 3)
    assert 'holds 3 videos, and Kinetics-400 about 240,000' in problem(source, folder)
    source.almost_all = 3
    assert source.problems(folder) == []


def test_hours_of_kinetics(server, kinetics, tmp_path, monkeypatch):
    monkeypatch.setattr(kinetics_module, 'VIDEOMAC_HOURS', 3 / 3600)
    folder = tmp_path / 'kinetics400'
    kinetics.prepare(folder, subset=True)
    assert [name for name, _ in server.requests[1:]] == ['part_2.tar.gz', 'part_0.tar.gz']
    dataset = FramePairDataset(
        str(folder / 'videos_train'), ann_file=str(folder / 'subset_5.58h.txt')
    )
    assert dataset.num_videos == 3
    assert kinetics.problems(folder, subset=True) == []
    assert 'archives are not unpacked: part_1.tar.gz' in problem(kinetics, folder)
    next((folder / 'videos_train').glob('2x*')).rename(tmp_path / 'elsewhere.mp4')
    assert '1 of 2 files of part_2.tar.gz are missing' in problem(kinetics, folder, subset=True)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<html>', r'expected the address of an archive, found .<html>'),
        ('file:///etc/a.tar.gz', r'expected the address'),
        ('\n', r'lists no archive'),
    ],
)
def test_an_index_that_is_none(tmp_path, text, message):
    path = tmp_path / 'index.txt'
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_index(path)


# ------------------------------------------------------------------ real data


@pytest.mark.parametrize(
    ('name', 'folder', 'message'),
    [
        ('jhmdb', 'jhmdb', r'265 of 268 folders of test clips are missing: Rename_Images/brush'),
        ('youtube_vos', 'ytvos', r'train/meta\.json cannot be read'),
        ('vip', 'davis', r'there is no list .*val_videos\.txt'),
        ('kinetics', 'videos', r'videos_train does not exist'),
    ],
)
def test_parts_of_the_real_sets(name, folder, message):
    assert re.search(message, SOURCES[name].problems(real_data(folder))[0])
