import numpy as np
import pytest

from mmvideomac.datasets.labelled_clips import VIPDataset
from mmvideomac.registry import DATASETS

from .layouts import blank_masks, save_frame, save_mask, write_vip

LABELS = 'VIP_Fine/Annotations/Category_ids'


@pytest.fixture
def maps():
    maps = blank_masks(3)
    maps[maps == 2] = 19
    maps[1, 4, 4] = 5  # a class that enters later
    maps[0, 5, :3] = 255
    return maps


@pytest.fixture
def root(tmp_path, maps):
    return write_vip(tmp_path / 'vip', dict(videos1=maps, videos10=maps[:2], videos2=maps))


def test_items_are_the_annotated_frames(root, maps):
    dataset = DATASETS.build(dict(type='VIPDataset', data_root=str(root)))
    assert [x['data_samples'].sequence for x in dataset] == ['videos1', 'videos10', 'videos2']
    item = dataset[0]
    sample = item['data_samples']
    assert sample.frame_names == ['000000000002', '000000000004', '000000000006']
    assert [p.split('/')[-3:] for p in sample.frame_paths][1] == [
        'Images',
        'videos1',
        '000000000004.jpg',
    ]
    assert sample.label_paths[1] == str(root / LABELS / 'videos1/000000000004.png')
    assert sample.ori_shape == (6, 8)
    assert sample.object_ids == [1, 19]
    np.testing.assert_array_equal(sample.first_label, np.where(maps[0] == 255, 0, maps[0]))
    assert item['inputs'].frame_paths == sample.frame_paths


def test_the_root_may_be_vip_fine(root):
    ours, theirs = VIPDataset(root / 'VIP_Fine')[0], VIPDataset(root)[0]
    assert ours['inputs'].frame_paths == theirs['inputs'].frame_paths
    assert len(VIPDataset(root).metainfo['classes']) == 20


def test_an_empty_first_map_is_told(root, warned):
    save_mask(root / LABELS / 'videos2/000000000002.png', np.zeros((6, 8)))
    assert VIPDataset(root)[2]['data_samples'].object_ids == []
    assert ['videos2/000000000002.png: the first map' in text for text in warned()] == [True]


BAD = {
    'missing frame': (
        lambda root: (root / 'VIP_Fine/Images/videos1/000000000004.jpg').unlink(),
        r'video videos1: 1 of 3 category maps have no frame .*videos1/000000000004\.png',
    ),
    'unknown class': (
        lambda root: save_mask(root / LABELS / 'videos2/000000000004.png', np.full((6, 8), 20)),
        r'videos2/000000000004\.png holds class 20; VIP has the classes 0 to 19',
    ),
    'map in colours': (
        lambda root: save_mask(root / LABELS / 'videos2/000000000004.png', np.zeros((6, 8)), 'RGB'),
        r'videos2/000000000004\.png: the mask is a RGB image',
    ),
    'frame of another size': (
        lambda root: save_frame(root / 'VIP_Fine/Images/videos1/000000000004.jpg', size=(8, 6)),
        r'videos1/000000000004\.jpg has 6x8 pixels',
    ),
    'missing video': (
        lambda root: (root / 'VIP_Fine/lists/val_videos.txt').write_text('videos3\n'),
        r'val_videos\.txt names videos3, but .*Images/videos3 does not exist',
    ),
    'missing list': (
        lambda root: (root / 'VIP_Fine/lists/val_videos.txt').unlink(),
        r'no list .*val_videos\.txt \(in that folder: none\)',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_data_is_named_at_the_start(root, case):
    change, message = BAD[case]
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        VIPDataset(root)
