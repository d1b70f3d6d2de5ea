import numpy as np
import pytest
from scipy.io import savemat

from mmvideomac.datasets.labelled_clips import JHMDBDataset
from mmvideomac.datasets.labelled_clips.jhmdb import load_joints
from mmvideomac.registry import DATASETS
from tests.test_datasets.helpers import real_data

from .layouts import joints, save_frame, write_jhmdb

WAVE, JUMP = 'wave/some_(one)_wave_f_1', 'jump/some_jump_f_0'


@pytest.fixture
def root(tmp_path):
    return write_jhmdb(tmp_path / 'jhmdb', {WAVE: joints(3), JUMP: joints(3) + 0.25})


def joint_file(root, name=WAVE):
    return root / 'joint_positions' / name / 'joint_positions.mat'


def test_items_are_the_test_clips(root):
    dataset = DATASETS.build(dict(type='JHMDBDataset', data_root=str(root)))
    assert [x['data_samples'].sequence for x in dataset] == [JUMP, WAVE]
    item = dataset[1]
    sample = item['data_samples']
    assert sample.frame_names == ['00001', '00002', '00003']
    assert sample.frame_paths[2] == str(root / 'Rename_Images' / WAVE / '00003.png')
    assert sample.ori_shape == (6, 8)
    np.testing.assert_array_equal(sample.gt_points, joints(3) - 1)  # from 0
    np.testing.assert_array_equal(sample.first_label, [np.arange(15), 2 * np.arange(15)])
    assert sample.gt_points.dtype == sample.first_label.dtype == np.float64
    assert sample.object_ids == list(range(1, 16))
    assert item['inputs'][2].mean() == 2


def test_frames_after_the_last_joints_are_left_out(root, warned):
    savemat(joint_file(root), dict(pos_img=joints(2)))
    item = JHMDBDataset(root)[1]
    assert len(item['inputs']) == len(item['data_samples'].frame_names) == 2
    assert item['data_samples'].gt_points.shape == (2, 15, 2)
    assert ['holds the joints of 2 frames of 3' in text for text in warned()] == [True]


def test_joints_of_a_single_frame(root):
    savemat(joint_file(root), dict(pos_img=joints(1)[..., 0]))
    assert JHMDBDataset(root)[1]['data_samples'].gt_points.shape == (2, 15, 1)


def test_hidden_files_are_no_frames(root):
    (root / 'Rename_Images' / WAVE / '._00001.png').write_text('')
    assert len(JHMDBDataset(root)[1]['inputs']) == 3


BAD = {
    'more joints than frames': (
        lambda root: savemat(joint_file(root), dict(pos_img=joints(4))),
        r'wave_f_1/joint_positions\.mat holds the joints of 4 frames, but the clip has 3',
    ),
    'missing frame': (
        lambda root: (root / 'Rename_Images' / WAVE / '00002.png').rename(
            root / 'Rename_Images' / WAVE / '00004.png'
        ),
        r'frame 00002 is missing after 00001',
    ),
    'frame of another size': (
        lambda root: save_frame(root / 'Rename_Images' / WAVE / '00002.png', size=(9, 9)),
        r'wave_f_1/00002\.png has 9x9 pixels, but .*00001\.png 8x6',
    ),
    'missing joints': (
        lambda root: joint_file(root).unlink(),
        r'the joints .*wave_f_1/joint_positions\.mat do not exist',
    ),
    'damaged joints': (
        lambda root: joint_file(root).write_bytes(b'MATLAB? no'),
        r'joint_positions\.mat cannot be read as a \.mat file',
    ),
    'no pos_img': (
        lambda root: savemat(joint_file(root), dict(pos_world=joints(3))),
        r'joint_positions\.mat has no variable pos_img',
    ),
    'joints of another shape': (
        lambda root: savemat(joint_file(root), dict(pos_img=joints(3)[:, :13])),
        r'pos_img has the shape \(2, 13, 3\)',
    ),
    'joints that are no numbers': (
        lambda root: savemat(joint_file(root), dict(pos_img=joints(3) * np.nan)),
        r'pos_img holds values that are not finite',
    ),
    'malformed list': (
        lambda root: (root / 'splits/wave_test_split1.txt').write_text('clip.avi test\n'),
        r"wave_test_split1\.txt: expected .* found 'clip\.avi test'",
    ),
    'no test clip': (
        lambda root: [f.write_text('a.avi 1\n') for f in (root / 'splits').iterdir()],
        r'none of the 2 lists .*_test_split1\.txt names a test clip',
    ),
    'missing clip': (
        lambda root: (root / 'splits/wave_test_split1.txt').write_text('gone.avi 2\n'),
        r'names gone, but .*Rename_Images/wave/gone does not exist',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_data_is_named_at_the_start(root, case):
    change, message = BAD[case]
    change(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        JHMDBDataset(root)


def test_a_split_that_is_not_there(root):
    with pytest.raises(FileNotFoundError, match=r'\*_test_split2\.txt'):
        JHMDBDataset(root, split=2)


def test_the_real_lists(tmp_path):
    (tmp_path / 'splits').symlink_to(real_data('jhmdb', 'splits'))
    dataset = JHMDBDataset.__new__(JHMDBDataset)
    dataset.split, dataset.data_root = 1, str(tmp_path)
    found = []
    dataset._find = lambda action, clip, _: found.append(f'{action}/{clip}')
    dataset.load_data_list()
    assert len(found) == len(set(found)) == 268  # as published
    assert all(not name.endswith('.avi') for name in found)


def test_joints_that_unpack_to_more_than_memory(tmp_path, monkeypatch):
    monkeypatch.setenv('MMVIDEOMAC_MAX_MAT_BYTES', str(2**20))
    path = tmp_path / 'a.mat'
    savemat(path, dict(other=np.zeros(2**20), pos_img=np.ones((2, 15, 3))), do_compression=True)
    with pytest.raises(ValueError, match=r'a\.mat cannot be read .*bytes of MATLAB data'):
        load_joints(path)
    monkeypatch.setenv('MMVIDEOMAC_MAX_MAT_BYTES', str(2**24))
    assert load_joints(path).shape == (2, 15, 3)


def test_joints_that_are_no_numbers(tmp_path):
    savemat(tmp_path / 'a.mat', dict(pos_img='a' * 30))
    with pytest.raises(ValueError, match='pos_img is of type char'):
        load_joints(tmp_path / 'a.mat')
