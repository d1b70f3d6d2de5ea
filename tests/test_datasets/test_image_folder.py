import pytest

from mmvideomac.datasets import ImageFolder
from tests.test_datasets.helpers import real_data
from tests.test_finetuning.photos import CLASSES, write_photos


def samples(root, split):
    dataset = ImageFolder(data_root=str(root), split=split)
    assert tuple(dataset.metainfo['classes']) == CLASSES
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(info['img_path'].replace(f'{root}/', ''), info['gt_label']) for info in infos]


def test_folders_of_train_and_val(tmp_path):
    write_photos(tmp_path, count=2)
    assert samples(tmp_path, 'val') == [
        (f'val/{name}/{index}.png', label)
        for label, name in enumerate(CLASSES)
        for index in range(2)
    ]
    assert {path.split('/')[0] for path, _ in samples(tmp_path, 'train')} == {'train'}


def test_every_fifth_image_is_val_where_nothing_is_split(tmp_path):
    write_photos(tmp_path, splits=('.',), count=10)
    val, train = samples(tmp_path, 'val'), samples(tmp_path, 'train')
    assert val == [
        (f'{name}/{index}.png', label) for label, name in enumerate(CLASSES) for index in (4, 9)
    ]
    assert len(train) == 24 and not set(train) & set(val)


def test_a_list_of_files(tmp_path):
    write_photos(tmp_path)
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'meta' / 'val.txt').write_text('bag/3.png 0\ntie/1.png 2\n')
    dataset = ImageFolder(data_root=str(tmp_path), split='val')
    assert dataset.get_gt_labels().tolist() == [0, 2]


def test_real_photographs():
    root = real_data('images')
    sizes = {
        split: len(ImageFolder(data_root=str(root), split=split)) for split in ('train', 'val')
    }
    assert sizes == dict(train=360, val=100)


def test_classes_that_differ_are_named(tmp_path):
    write_photos(tmp_path)
    (tmp_path / 'val' / 'bag').rename(tmp_path / 'val' / 'sock')
    with pytest.raises(ValueError, match=r'not those of train \(train only: bag; val only: sock\)'):
        ImageFolder(data_root=str(tmp_path), split='val')


def test_other_splits(tmp_path):
    write_photos(tmp_path, splits=('.',))
    with pytest.raises(ValueError, match="unknown split 'test'"):
        ImageFolder(data_root=str(tmp_path), split='test')


def test_no_images(tmp_path):
    with pytest.raises(ValueError, match='none does not exist: set data_root'):
        ImageFolder(data_root=str(tmp_path / 'none'), split='train')
    with pytest.raises(ValueError, match='has no folders of images'):
        ImageFolder(data_root=str(tmp_path), split='train')
    write_photos(tmp_path, splits=('train',))
    with pytest.raises(ValueError, match='val has no folders of images'):
        ImageFolder(data_root=str(tmp_path), split='val')
