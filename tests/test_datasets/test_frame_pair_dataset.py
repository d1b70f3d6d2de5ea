import multiprocessing
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from mmvideomac.datasets import (
    DecordReader,
    EpochSampler,
    FramePairDataset,
    SampleKey,
    VideoReadError,
    extract_frames,
    find_videos,
    samplers,
)
from mmvideomac.registry import DATASETS
from mmvideomac.utils.errors import UserError

from .helpers import make_frames, make_video, real_data

CROP = dict(
    type='RandomResizedCropFrames',
    scale=16,
    crop_ratio_range=(0.2, 1.0),
    interpolation='bicubic',
    flip_prob=0.5,
)
PIPELINE = [CROP, dict(type='PackFramePair')]


@pytest.fixture
def root(tmp_path):
    """Three folders of frames and a file."""
    root = tmp_path / 'data'
    for name, num_frames in [('a', 6), ('b', 2), ('c', 9)]:
        make_frames(root / name, num_frames)
    make_video(root / 'd.mp4', 5)
    return root


def textured(root, videos=3, num_frames=6):
    """Frames that look different everywhere, so that crops can be told apart."""
    rng = np.random.RandomState(0)
    for v in range(videos):
        (root / f'v{v}').mkdir(parents=True)
        for k in range(num_frames):
            image = Image.fromarray(rng.randint(0, 256, (24, 32, 3), np.uint8))
            image.save(root / f'v{v}' / f'{k}.png')
    return root


def pairs(dataset, seed=0, epoch=0):
    samples = [dataset[SampleKey(seed, epoch, index)] for index in range(len(dataset))]
    return [(os.path.basename(s['video']), *s['frame_indices']) for s in samples]


def digest(sample):
    meta = sample['data_samples'].metainfo
    frames = [hash(t.numpy().tobytes()) for t in sample['inputs']]
    return meta['sample_seed'], meta['video'], meta['frame_indices'], *frames


class TestAllPairs:
    def test_every_pair_once(self, root):
        dataset = FramePairDataset(str(root))
        expected = [
            (name, i, i + 1)
            for name, num_frames in [('a', 6), ('b', 2), ('c', 9), ('d.mp4', 5)]
            for i in range(num_frames - 1)
        ]
        assert len(dataset) == 5 + 1 + 8 + 4
        assert pairs(dataset) == expected
        assert [s['frames'][1].max() for s in dataset][:5] == [1, 2, 3, 4, 5]

    def test_gap_leaves_out_short_videos(self, root, warned):
        dataset = FramePairDataset(str(root), sampling=dict(type='all_pairs', gap=4))
        assert pairs(dataset) == [
            *(('a', i, i + 4) for i in range(2)),
            *(('c', i, i + 4) for i in range(5)),
            ('d.mp4', 0, 4),
        ]
        (message,) = warned()
        assert '1 of 4 videos are too short for a gap of 4' in message and '/b' in message

    def test_sample_fields(self, root):
        sample = FramePairDataset(str(root))[SampleKey(1, 2, 3)]
        assert [f.shape for f in sample['frames']] == [(24, 32, 3)] * 2
        assert sample['frame_indices'] == (3, 4) and sample['sample_idx'] == 3
        assert sample['ori_shape'] == sample['img_shape'] == (24, 32)
        assert type(sample['sample_seed']) is int and 0 <= sample['sample_seed'] < 2**63

    def test_plain_index(self, root):
        dataset = FramePairDataset(str(root), pipeline=PIPELINE)
        expected = digest(dataset[SampleKey(0, 0, 17)])
        assert digest(dataset[17]) == digest(dataset[-1]) == digest(dataset[np.int64(17)])
        assert digest(dataset[17]) == expected
        for index in (18, -19):
            with pytest.raises(IndexError, match='of a dataset of 18'):
                dataset[index]


class TestPerVideo:
    def test_repeats_and_range(self, root):
        sampling = dict(type='per_video', repeats=3, gap=(2, 4))
        dataset = FramePairDataset(str(root), sampling=sampling)
        assert len(dataset) == 9
        seen = set()
        for epoch in range(30):
            epoch_pairs = pairs(dataset, epoch=epoch)
            assert [name for name, *_ in epoch_pairs] == ['a'] * 3 + ['c'] * 3 + ['d.mp4'] * 3
            assert all(2 <= j - i <= 4 for _, i, j in epoch_pairs)
            seen |= set(epoch_pairs)
        assert {p for p in seen if p[0] == 'd.mp4'} == {
            ('d.mp4', i, i + gap) for gap in (2, 3, 4) for i in range(5 - gap)
        }
        assert pairs(dataset, epoch=1) != pairs(dataset, epoch=2)
        assert pairs(dataset, seed=1) != pairs(dataset, seed=2)
        assert pairs(dataset, epoch=1) == pairs(dataset, epoch=1)

    def test_seconds(self, root):
        sampling = dict(type='per_video', repeats=20, gap_seconds=(0.2, 0.3))
        dataset = FramePairDataset(str(root / 'd.mp4'), sampling=sampling)  # 10 fps
        assert {j - i for _, i, j in pairs(dataset)} == {2, 3}

    def test_seconds_of_extracted_frames(self, root, tmp_path):
        extract_frames(find_videos(str(root)), tmp_path / 'frames')
        sampling = dict(type='per_video', repeats=20, gap_seconds=(0.2, 0.3))
        dataset = FramePairDataset(str(tmp_path / 'frames'), sampling=sampling)
        assert {j - i for _, i, j in pairs(dataset)} == {2, 3}

    def test_seconds_need_a_frame_rate(self, root):
        sampling = dict(type='per_video', gap_seconds=(0.2, 0.3))
        with pytest.raises(ValueError, match=r'3 of 4 videos do not have.*/a.*gap=\(low, high\)'):
            FramePairDataset(str(root), sampling=sampling)


class TestDeterminism:
    def test_crops_and_masks_do_not_depend_on_the_choice_of_frames(self, tmp_path):
        """Methods that sample otherwise see the same crops."""
        root, drawn = str(textured(tmp_path / 'data')), []

        def record(results):
            state = np.random.randint(2**31), random.random(), results['sample_seed']
            drawn.append((Path(results['video']).name, *state, torch.rand(1).item()))
            return results

        for gap in [(1, 1), (1, 3), (2, 3)]:
            sampling = dict(type='per_video', repeats=4, gap=gap)
            dataset = FramePairDataset(root, pipeline=[record], sampling=sampling)
            for index in range(len(dataset)):
                dataset[SampleKey(3, 1, index)]
        first, *others = np.array_split(np.array(drawn, dtype=object), 3)
        assert len(np.unique(first[:, 1])) == len(first)
        assert all((other == first).all() for other in others)

    @pytest.fixture
    def dataset(self, tmp_path):
        sampling = dict(type='per_video', repeats=4, gap=(1, 3))
        return FramePairDataset(
            str(textured(tmp_path / 'data')), pipeline=PIPELINE, sampling=sampling
        )

    def load(self, dataset, num_workers, batch_size=4, seed=5, **options):
        sampler = EpochSampler(dataset, seed=seed)
        if num_workers:
            options.setdefault('multiprocessing_context', 'fork')
        loader = Runner.build_dataloader(
            dict(
                dataset=dataset,
                sampler=sampler,
                batch_size=batch_size,
                num_workers=num_workers,
                collate_fn=list,
                **options,
            ),
            seed=num_workers,  # what mmengine seeds workers with must not matter
        )
        sampler.set_epoch(1)
        return [digest(sample) for batch in loader for sample in batch]

    def test_workers_do_not_matter(self, dataset):
        alone = self.load(dataset, 0)
        assert len(set(alone)) == len(dataset) == 12
        assert self.load(dataset, 1) == alone
        assert self.load(dataset, 2) == alone
        assert self.load(dataset, 0, seed=6) != alone

    def test_ranks_do_not_matter(self, dataset, monkeypatch):
        alone = self.load(dataset, 0)
        per_rank = []
        for rank in range(2):
            monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, 2))
            per_rank.append(self.load(dataset, 0, batch_size=2))
        assert [s for step in zip(*per_rank, strict=True) for s in step] == alone

    def test_history_does_not_matter_and_no_trace_is_left(self, dataset):
        expected = digest(dataset[SampleKey(0, 3, 7)])
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        dataset[SampleKey(9, 9, 1)]
        assert digest(dataset[SampleKey(0, 3, 7)]) == expected
        after = random.random(), np.random.rand(), torch.rand(1).item()
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        assert after == (random.random(), np.random.rand(), torch.rand(1).item())

    def test_pickled_after_use(self, dataset):
        expected = digest(dataset[5])
        assert digest(pickle.loads(pickle.dumps(dataset))[5]) == expected

    def test_another_folder_gives_the_same_samples(self, dataset, tmp_path):
        moved = FramePairDataset(
            str((tmp_path / 'data').rename(tmp_path / 'moved')),
            pipeline=PIPELINE,
            sampling=dict(type='per_video', repeats=4, gap=(1, 3)),
        )
        assert [s['data_samples'].sample_seed for s in moved] == [
            s['data_samples'].sample_seed for s in (moved[i] for i in range(12))
        ]
        assert digest(moved[5])[2:] == digest(moved[5])[2:]

    def test_identical_frames_give_identical_inputs(self, tmp_path):
        image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (24, 32, 3), np.uint8))
        (tmp_path / 'v').mkdir()
        for k in range(30):
            image.save(tmp_path / 'v' / f'{k}.png')
        jitter = [
            dict(type='NumpyToPIL'),
            dict(type='torchvision/ColorJitter', brightness=0.4, saturation=0.4, hue=0.1),
        ]
        pipeline = [CROP, dict(type='ApplyToFrames', transforms=jitter), PIPELINE[1]]
        dataset = FramePairDataset(str(tmp_path), pipeline=pipeline)
        samples = [dataset[i] for i in range(len(dataset))]
        assert all(torch.equal(*sample['inputs']) for sample in samples)
        assert len({digest(sample)[3] for sample in samples}) == len(samples)


class TestUndecodable:
    @pytest.fixture
    def root(self, tmp_path):
        root = textured(tmp_path / 'data', videos=2, num_frames=12)
        for k in range(4, 8):
            (root / 'v0' / f'{k}.png').write_bytes(b'damaged')
        return root

    def test_replaced_with_one_warning_per_file(self, root, warned):
        dataset = FramePairDataset(str(root), pipeline=PIPELINE)
        first = [digest(dataset[i]) for i in range(len(dataset))]
        messages = warned()
        assert len(messages) == 4  # 4.png to 7.png; 5 pairs hold one of them
        assert all('another sample takes the place' in m and '.png' in m for m in messages)
        again = FramePairDataset(str(root), pipeline=PIPELINE)
        assert [digest(again[i]) for i in reversed(range(len(again)))][::-1] == first
        assert digest(again[4]) != digest(again[SampleKey(0, 1, 4)])

    def test_raises_in_test_mode(self, root):
        with pytest.raises(VideoReadError, match=r'v0/4\.png'):
            FramePairDataset(str(root), test_mode=True)[4]

    def test_a_frame_of_another_size_is_replaced(self, root, warned):
        for k in range(4, 8):
            (root / 'v0' / f'{k}.png').unlink()
            Image.new('RGB', (9, 9)).save(root / 'v0' / f'{k}.png')
        dataset = FramePairDataset(str(root))
        assert dataset[3]['frame_indices'] != (3, 4)
        (message,) = warned()
        assert 'another sample' in message and 'v0/4.png: the frame is 9x9, but 3.png' in message
        assert dataset[4]['frame_indices'] == (4, 5)
        with pytest.raises(VideoReadError, match=r'v0/8\.png: the frame is 32x24'):
            FramePairDataset(str(root), test_mode=True)[7]

    def test_gives_up_if_all_are(self, root):
        dataset = FramePairDataset(str(root))
        for path in root.glob('*/*.png'):
            path.write_bytes(b'damaged')
        with pytest.raises(UserError, match=r'10 samples in a row.*\.png'):
            dataset[0]

    def test_cut_video(self, tmp_path, warned):
        content = real_data('videos', 'cat_on_sofa.mp4').read_bytes()
        (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 3])
        dataset = FramePairDataset(str(tmp_path))
        last = len(dataset) - 1
        assert dataset[last]['frame_indices'] != (last, last + 1)
        assert dataset[10]['frame_indices'] == (10, 11)
        (message,) = warned()
        assert 'cut.mp4' in message and f'frames [{last}, {last + 1}]' in message


class TestVideos:
    def test_video_info(self, root):
        dataset = FramePairDataset(str(root))
        assert dataset.get_video_info(3) == dict(
            path=str(root / 'd.mp4'), reader='video', num_frames=5, height=48, width=64, fps=10.0
        )
        assert dataset.get_video_info(0)['num_frames'] == 6

    def test_fingerprint(self, root, tmp_path):
        def fingerprint(*roots, **options):
            return FramePairDataset([str(path) for path in roots], **options).fingerprint

        ours = fingerprint(root)
        dataset = FramePairDataset(str(root))
        assert (ours['videos'], ours['frames']) == (len(dataset._ends), dataset._num_frames)
        moved = root.rename(tmp_path / 'elsewhere')
        assert fingerprint(moved) == ours
        key = 'hash of the videos'
        assert fingerprint(moved, indices=2)[key] != ours[key]
        gaps = [dict(type='per_video', gap=gap) for gap in [(1, 1), [1, 1], (1, 2)]]
        same, alike, other = (fingerprint(moved, sampling=gap) for gap in gaps)
        assert same == alike != other
        assert same[key] == ours[key] and same['sampling'] != ours['sampling']
        (moved / 'd.mp4').rename(moved / 'e.mp4')
        renamed = fingerprint(moved)
        assert renamed.pop(key) != ours.pop(key) and renamed == ours

    def test_several_roots(self, root, tmp_path):
        make_frames(tmp_path / 'more' / 'a', 3)
        dataset = FramePairDataset([tmp_path / 'more', str(root / 'c')])
        assert len(dataset) == 2 + 8
        assert dataset[0]['video'] == str(tmp_path / 'more' / 'a')
        assert dataset[9]['video'] == str(root / 'c')

    @pytest.mark.parametrize('place', ['root', 'working directory'])
    def test_list_file(self, root, tmp_path, monkeypatch, place):
        (root / 'list.txt').write_text('d.mp4\na\n')
        if place == 'root':
            ann_file = 'list.txt'
        else:
            monkeypatch.chdir(tmp_path)
            ann_file = 'data/list.txt'
        dataset = FramePairDataset(str(root), ann_file=ann_file)
        assert {name for name, *_ in pairs(dataset)} == {'a', 'd.mp4'}

    def test_list_file_opens_only_what_it_names(self, root, monkeypatch):
        (root / 'list.txt').write_text('a\n')
        monkeypatch.setattr(DecordReader, 'probe', lambda *_: pytest.fail('opened'))
        assert len(FramePairDataset(str(root), ann_file='list.txt')) == 5

    def test_lazy_init(self, root):
        dataset = FramePairDataset(str(root), lazy_init=True, metainfo=dict(name='mine'))
        assert dataset.metainfo == dict(name='mine')
        assert not dataset._fully_initialized
        assert len(dataset) == 18 and dataset[17]['frame_indices'] == (3, 4)

    def test_not_serialised(self, root):
        assert pairs(FramePairDataset(str(root), serialize_data=False)) == pairs(
            FramePairDataset(str(root))
        )

    def test_subsets_are_of_videos(self, root):
        assert len(FramePairDataset(str(root), indices=2)) == 6
        dataset = FramePairDataset(str(root))
        assert pairs(dataset.get_subset([1, 3])) == [
            ('b', 0, 1),
            *(('d.mp4', i, i + 1) for i in range(4)),
        ]
        assert len(dataset) == 18
        dataset.get_subset_(1)
        assert len(dataset) == 5

    def test_memory_of_a_large_list_is_flat(self, root):
        """What every worker gets a copy of: arrays, not a million small objects."""
        dataset = FramePairDataset(str(root))
        assert dataset.data_list == [] and dataset.data_bytes.dtype == np.uint8
        assert dataset._ends.dtype == np.int64 and len(dataset._ends) == 4

    def test_a_reader_of_ones_own(self, root):
        readers = dict(video=dict(type='DecordReader', max_open=1))
        dataset = FramePairDataset(str(root), readers=readers)
        assert dataset.readers['video'].max_open == 1
        assert dataset[17]['frame_indices'] == (3, 4)

    def test_builds_from_a_config(self, root):
        cfg = dict(type='mmvideomac.FramePairDataset', data_root=str(root), pipeline=PIPELINE)
        assert digest(DATASETS.build(cfg)[0])[2] == (0, 1)


class TestMessages:
    def test_unreadable_videos_are_one_warning(self, root, warned):
        for k in range(4):
            (root / f'x{k}.mp4').write_bytes(b'')
        dataset = FramePairDataset(str(root))
        assert len(dataset) == 18
        (message,) = warned()
        assert message.startswith('4 of 8 videos cannot be read and are left out: ')
        assert 'x2.mp4 (the file is empty), ...' in message and 'x3' not in message

    def test_odd_names_are_one_warning(self, root, warned):
        make_frames(root / 'odd', 2, names=['first.png', 'second.png'])
        FramePairDataset(str(root))
        (message,) = warned()
        assert 'without a number' in message and '/odd.' in message

    def test_small_frames_are_one_warning(self, root, warned):
        pipeline = [{**CROP, 'scale': 30}]
        FramePairDataset(str(root), pipeline=pipeline)
        (message,) = warned()
        assert message.startswith('3 of 4 videos have frames smaller than the 30x30 crop')
        assert message.endswith('/a, ' + str(root / 'b') + ', ' + str(root / 'c'))

    def test_large_frames_are_none(self, root, warned):
        FramePairDataset(str(root), pipeline=PIPELINE)
        assert warned() == []

    def test_errors(self, root, tmp_path):
        with pytest.raises(ValueError, match=r'long enough for a gap of 9.*c, has 9 frames'):
            FramePairDataset(str(root), sampling=dict(type='all_pairs', gap=9))
        with pytest.raises(ValueError, match='no videos found in'):
            (tmp_path / 'empty').mkdir()
            FramePairDataset(str(tmp_path / 'empty'))
        with pytest.raises(ValueError, match=r'none of the 1 videos in .*bad can be read'):
            (tmp_path / 'bad').mkdir()
            (tmp_path / 'bad' / 'x.mp4').write_bytes(b'')
            FramePairDataset(str(tmp_path / 'bad'))
        with pytest.raises(FileNotFoundError, match=r'data_root .*nowhere does not exist'):
            FramePairDataset(str(tmp_path / 'nowhere'))
        with pytest.raises(ValueError, match='data_root is empty'):
            FramePairDataset('')
        with pytest.raises(ValueError, match='missing'):
            (root / 'list.txt').write_text('missing\na\n')
            FramePairDataset(str(root), ann_file='list.txt')
        with pytest.raises(FileNotFoundError, match=r'nolist\.txt does not exist'):
            FramePairDataset(str(root), ann_file='nolist.txt')
        with pytest.raises(ValueError, match="'every_pair'; choose 'all_pairs'"):
            FramePairDataset(str(root), sampling=dict(type='every_pair'))


def _one_rank(rank, root, queue):
    store = os.path.join(os.path.dirname(root), f'store-{os.path.basename(root)}')
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2
    )
    opened = []
    original = DecordReader.probe
    DecordReader.probe = lambda self, path: opened.append(path) or original(self, path)
    try:
        queue.put((rank, len(FramePairDataset(root)), len(opened)))
    except ValueError as error:
        queue.put((rank, str(error), len(opened)))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('readable', [True, False])
def test_one_process_indexes_for_all(tmp_path, readable):
    """And if it fails, all of them say so instead of waiting."""
    root = tmp_path / 'data'
    if readable:
        make_video(root / 'v.mp4', 5)
    else:
        root.mkdir()
        (root / 'v.mp4').write_bytes(b'')
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    ranks = [context.Process(target=_one_rank, args=(r, str(root), queue)) for r in range(2)]
    for process in ranks:
        process.start()
    results = sorted(queue.get(timeout=30) for _ in ranks)
    for process in ranks:
        process.join(30)
    assert [opened for *_, opened in results] == [1, 0]
    if readable:
        assert [length for _, length, _ in results] == [4, 4]
    else:
        assert all('none of the 1 videos' in message for _, message, _ in results)


def test_real_clips_in_workers_equal_real_clips_here():
    dataset = FramePairDataset(
        str(real_data('videos')),
        pipeline=PIPELINE,
        sampling=dict(type='per_video', gap_seconds=(0.05, 1.6)),
    )
    assert len(dataset) == 44
    dataset[0]  # a reader is open when the workers are forked
    load = TestDeterminism().load
    subset = dataset.get_subset([0, 18, 35, 38])
    assert load(subset, 2, batch_size=1) == load(subset, 0, batch_size=1)


def test_real_frames():
    pipeline = [{**CROP, 'scale': 224}, dict(type='PackFramePair')]
    dataset = FramePairDataset(str(real_data('ytvos')), pipeline=pipeline)
    assert len(dataset) == 28
    first, second = dataset[5]['inputs']
    assert first.shape == second.shape == (3, 224, 224)
    difference = (first.float() - second).abs().mean()
    assert 0 < difference < 40  # neighbours look alike, but are not the same frame


def test_real_jpegs_in_workers_equal_real_jpegs_here():
    dataset = FramePairDataset(str(real_data('davis', 'JPEGImages', '480p')), pipeline=PIPELINE)
    dataset = dataset.get_subset([5])
    dataset[0]  # memory of frames is at hand when the workers are forked
    load = TestDeterminism().load
    assert load(dataset, 2) == load(dataset, 0)


def test_overlapping_roots_count_once(tmp_path):
    make_frames(tmp_path / 'v/a', 4)
    make_frames(tmp_path / 'v/a/b', 4)
    dataset = FramePairDataset([str(tmp_path / 'v/a/b'), str(tmp_path / 'v')])
    assert dataset.num_videos == 2 and len(dataset) == 6


def test_excluded_videos(tmp_path):
    root = textured(tmp_path / 'data')
    whole = FramePairDataset(str(root))
    names = [whole.name_of(whole.get_video_info(i)) for i in range(whole.num_videos)]
    assert len(names) == 3
    rest = FramePairDataset(str(root), exclude=names[1:2])
    kept = [rest.name_of(rest.get_video_info(i)) for i in range(rest.num_videos)]
    assert kept == [names[0], names[2]] and rest.fingerprint != whole.fingerprint
    with pytest.raises(ValueError, match='exclude leaves no video'):
        FramePairDataset(str(root), exclude=names)
