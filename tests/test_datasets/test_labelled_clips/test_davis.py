import shutil

import numpy as np
import pytest

from mmvideomac.datasets import VideoReadError
from mmvideomac.datasets.labelled_clips import DAVISDataset
from mmvideomac.registry import DATASETS
from tests.test_datasets.helpers import real_data

from .layouts import blank_masks, save_frame, save_mask, write_davis


@pytest.fixture
def root(tmp_path):
    masks = dict(swan=blank_masks(), tree=blank_masks(5, objects=1))
    return write_davis(tmp_path / 'davis', masks)


def rewrite(root, change, mode='P', sequence='swan', objects=2):
    """Write the masks of a sequence again, changed."""
    masks = blank_masks(objects=objects)
    change(masks)
    for t, mask in enumerate(masks):
        save_mask(root / f'Annotations/480p/{sequence}/{t:05d}.png', mask, mode)


def test_items(root):
    dataset = DATASETS.build(dict(type='DAVISDataset', data_root=str(root)))
    assert len(dataset) == 2
    item = dataset[0]
    sample = item['data_samples']
    assert sample.sequence == 'swan'
    assert sample.frame_names == ['00000', '00001', '00002', '00003']
    folder = root / 'JPEGImages/480p/swan'
    assert sample.frame_paths == [str(folder / f'{t:05d}.jpg') for t in range(4)]
    folder = root / 'Annotations/480p/swan'
    assert sample.label_paths == [str(folder / f'{t:05d}.png') for t in range(4)]
    assert sample.ori_shape == (6, 8)
    assert sample.object_ids == [1, 2]
    assert sample.binary_masks is False
    np.testing.assert_array_equal(sample.first_label, blank_masks()[0])
    assert sample.first_label.dtype == np.uint8
    assert item['inputs'].frame_paths == sample.frame_paths
    assert abs(int(item['inputs'][2].mean()) - 20) <= 1
    assert dataset[1]['data_samples'].object_ids == [1]


def test_the_order_is_that_of_the_list(root):
    (root / 'ImageSets/2017/val.txt').write_text('tree\n\nswan\n')
    assert [x['data_samples'].sequence for x in DAVISDataset(root)] == ['tree', 'swan']
    assert [x['data_samples'].sequence for x in DAVISDataset(root, indices=1)] == ['tree']


def test_year_split_and_resolution_choose_folders(root):
    for kind in ('JPEGImages', 'Annotations'):
        (root / kind / '480p').rename(root / kind / 'Full-Resolution')
    (root / 'ImageSets/2016').mkdir()
    (root / 'ImageSets/2016/train.txt').write_text('tree\n')
    dataset = DAVISDataset(root, year='2016', split='train', resolution='Full-Resolution')
    assert [x['data_samples'].sequence for x in dataset] == ['tree']


def test_grayscale_of_0_and_255_is_one_object(root):
    rewrite(root, lambda m: np.putmask(m, m > 0, 255), 'L')
    sample = DAVISDataset(root)[0]['data_samples']
    assert sample.binary_masks is True and sample.object_ids == [1]
    np.testing.assert_array_equal(sample.first_label, blank_masks()[0] > 0)


def test_grayscale_may_hold_ids(root):
    rewrite(root, lambda m: None, 'L')
    sample = DAVISDataset(root)[0]['data_samples']
    assert sample.binary_masks is False and sample.object_ids == [1, 2]


def test_255_in_palette_masks_is_background(root):
    def change(masks):
        masks[0, 0] = 255
        masks[2, 5] = 255

    rewrite(root, change)
    sample = DAVISDataset(root)[0]['data_samples']
    assert sample.object_ids == [1, 2]  # up to the highest in the first mask
    assert sample.first_label.max() == 2 and not sample.first_label[0].any()


def test_a_list_with_a_gap_is_refused_and_a_constant_step_is_not(root):
    folders = [root / kind / '480p/tree' for kind in ('JPEGImages', 'Annotations')]
    for folder in folders:
        for t in (1, 3):
            next(folder.glob(f'{t:05d}.*')).unlink()
    assert DAVISDataset(root)[1]['data_samples'].frame_names == ['00000', '00002', '00004']
    (root / 'ImageSets/2017/val.txt').write_text('swan\n')
    for kind in ('JPEGImages', 'Annotations'):
        next((root / kind / '480p/swan').glob('00001.*')).unlink()
    with pytest.raises(ValueError, match='swan: frame 00001 is missing after 00000'):
        DAVISDataset(root)


def first_empty(masks):
    masks[0] = 0


def later_object(masks):
    masks[2, 5] = 3


def interpolated(masks):
    np.putmask(masks, masks > 0, 255)
    masks[1, 3] = 1


BAD = {
    'missing frame': (
        lambda root: (root / 'JPEGImages/480p/swan/00002.jpg').unlink(),
        r'sequence swan: 1 of 4 files have no frame .*Annotations/480p/swan/00002\.png',
    ),
    'extra frame': (
        lambda root: save_frame(root / 'JPEGImages/480p/swan/00004.jpg'),
        r'sequence swan: 1 of 5 files have no mask .*JPEGImages/480p/swan/00004\.jpg',
    ),
    'two frames of one name': (
        lambda root: save_frame(root / 'JPEGImages/480p/swan/00001.png'),
        'swan holds two images of one name',
    ),
    'frame of another size': (
        lambda root: save_frame(root / 'JPEGImages/480p/swan/00003.jpg', size=(6, 9)),
        r'swan/00003\.jpg has 9x6 pixels, but .*00000\.png 8x6',
    ),
    'mask of another size': (
        lambda root: save_mask(root / 'Annotations/480p/swan/00003.png', blank_masks()[0, 1:]),
        r'swan/00003\.png has 8x5 pixels, but .*00000\.png 8x6',
    ),
    'colour mask': (
        lambda root: save_mask(root / 'Annotations/480p/swan/00001.png', blank_masks()[0], 'RGB'),
        r'swan/00001\.png: the mask is a RGB image',
    ),
    'empty first mask': (
        lambda root: rewrite(root, first_empty),
        r'swan/00000\.png: the first mask .* is empty$',
    ),
    'first mask all void': (
        lambda root: rewrite(root, lambda m: np.putmask(m, m > 0, 255)),
        r'swan/00000\.png: the first mask .* is empty \(in palette files 255 is void\)',
    ),
    'empty first mask of 0 and 255': (
        lambda root: rewrite(root, lambda m: (first_empty(m), np.putmask(m, m > 0, 255)), mode='L'),
        r'swan/00000\.png: the first mask .* is empty',
    ),
    'object that enters later': (
        lambda root: rewrite(root, later_object),
        r'swan/00002\.png holds object 3, .*00000\.png\) only up to 2',
    ),
    'interpolated mask': (
        lambda root: rewrite(root, interpolated, 'L'),
        r'swan/00000\.png: a grayscale mask .*\[0, 1, 255\]',
    ),
    'missing sequence': (
        lambda root: shutil.rmtree(root / 'JPEGImages/480p/swan'),
        r'val\.txt names swan, but .*JPEGImages/480p/swan does not exist',
    ),
    'missing masks': (
        lambda root: shutil.rmtree(root / 'Annotations/480p/swan'),
        r'val\.txt names swan, but .*Annotations/480p/swan does not exist',
    ),
    'folder without images': (
        lambda root: [f.unlink() for f in (root / 'JPEGImages/480p/swan').iterdir()],
        'JPEGImages/480p/swan holds no image',
    ),
    'empty split': (
        lambda root: (root / 'ImageSets/2017/val.txt').write_text(' \n'),
        r'val\.txt is empty',
    ),
    'missing split': (
        lambda root: (root / 'ImageSets/2017/val.txt').rename(root / 'ImageSets/2017/my.txt'),
        r'no list .*val\.txt \(in that folder: my\)',
    ),
    'sequence named twice': (
        lambda root: (root / 'ImageSets/2017/val.txt').write_text('swan\ntree\nswan\n'),
        r'val\.txt names swan twice',
    ),
    'too short': (
        lambda root: [
            (root / f'{kind}/480p/swan/0000{t}.{ending}').unlink()
            for kind, ending in (('JPEGImages', 'jpg'), ('Annotations', 'png'))
            for t in (2, 3)
        ],
        'swan holds 2 frames, and 3 are needed',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_data_is_named_at_the_start(root, case):
    change, message = BAD[case]
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        DAVISDataset(root)


def test_a_damaged_frame_is_named(root):
    (root / 'JPEGImages/480p/tree/00001.jpg').write_text('none')
    with pytest.raises(VideoReadError, match=r'tree/00001\.jpg'):
        DAVISDataset(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'data_root .*nowhere does not exist'):
        DAVISDataset(tmp_path / 'nowhere')


def test_the_real_sequences():
    dataset = DAVISDataset(real_data('davis'), year='2016')
    samples = {x['data_samples'].sequence: x['data_samples'] for x in dataset}
    assert len(samples) == 12
    assert {name for name, s in samples.items() if not s.binary_masks} == {'blackswan', 'bmx-trees'}
    assert all(s.object_ids == [1] for name, s in samples.items() if name != 'bmx-trees')
    assert samples['bmx-trees'].object_ids == [1, 2]
    assert all(s.ori_shape == (480, 854) == s.first_label.shape for s in samples.values())
    assert sum(len(s.frame_paths) for s in samples.values()) == 815
    girls = DAVISDataset(real_data('davis'), split='val_240p', resolution='240p')[0]
    assert girls['data_samples'].object_ids == list(range(1, 8))


@pytest.mark.parametrize('name', ['../480p/swan', '/etc', 'a\\..\\..\\b'])
def test_a_list_does_not_lead_out_of_the_data(root, name):
    (root / 'ImageSets/2017/val.txt').write_text(name)
    with pytest.raises(ValueError, match=r'val\.txt: .* is no name of a file below'):
        DAVISDataset(str(root))


def test_links_can_be_refused(root, tmp_path):
    folder = root / 'JPEGImages/480p/swan'
    folder.rename(tmp_path / 'elsewhere')
    folder.symlink_to(tmp_path / 'elsewhere')
    assert len(DAVISDataset(str(root))) == 2
    with pytest.raises(ValueError, match=r'outside .*davis'):
        DAVISDataset(str(root), follow_symlinks=False)


def test_too_many_objects(root, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_MAX_OBJECTS', '1')
    with pytest.raises(ValueError, match=r'00000\.png: 2 objects .* MMVIDEOMAC_MAX_OBJECTS'):
        DAVISDataset(str(root))
