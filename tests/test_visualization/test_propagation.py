import numpy as np
import pytest
from scipy.io import savemat

from mmvideomac.datasets import DAVISDataset, JHMDBDataset, VIPDataset
from mmvideomac.datasets.labelled_clips.masks import encode_mask
from mmvideomac.visualization import draw_propagation
from mmvideomac.visualization.propagation import draw_propagation_side_by_side
from tests.test_evaluation.clips import write_davis, write_jhmdb, write_vip


@pytest.fixture
def davis(tmp_path):
    return DAVISDataset(str(write_davis(tmp_path / 'davis', 1)))


def predict_masks(dataset, out, mask):
    sample = dataset[0]['data_samples']
    (out / sample.sequence).mkdir(parents=True)
    for name in sample.frame_names:
        (out / sample.sequence / f'{name}.png').write_bytes(encode_mask(mask))
    return out


def test_rows_are_the_truth_and_each_encoder(davis, tmp_path):
    nothing = predict_masks(davis, tmp_path / 'nothing', np.zeros((64, 96), np.uint8))
    everything = predict_masks(davis, tmp_path / 'everything', np.ones((64, 96), np.uint8))
    one = draw_propagation(davis, 0, dict(nothing=nothing), frames=3)
    two = draw_propagation(davis, 0, dict(nothing=nothing, everything=everything), frames=3)
    assert one.dtype == two.dtype == np.uint8 and one.shape[1] <= two.shape[1]
    row = two.shape[0] - one.shape[0]
    assert row > 100
    # The colour of the first object is red: it is nowhere, in the square, or everywhere.
    red = two[..., 0].astype(int) - two[..., 1]
    rows = [(red[26 + i * row : 26 + (i + 1) * row] > 30).mean() for i in range(3)]
    assert rows[1] < rows[0] < rows[2]


def test_predictions_of_another_size(davis, tmp_path):
    large = predict_masks(davis, tmp_path / 'large', np.ones((128, 192), np.uint8))
    small = predict_masks(davis, tmp_path / 'small', np.ones((64, 96), np.uint8))
    pictures = [draw_propagation(davis, 0, dict(name=out)) for out in (large, small)]
    assert np.array_equal(*pictures)


def test_parts_and_joints(tmp_path):
    vip = VIPDataset(str(write_vip(tmp_path / 'vip')))
    shape = vip[0]['data_samples'].ori_shape
    masks = predict_masks(vip, tmp_path / 'parts', np.zeros(shape, np.uint8))
    assert draw_propagation(vip, 0, dict(zero=masks)).ndim == 3

    jhmdb = JHMDBDataset(str(write_jhmdb(tmp_path / 'jhmdb')))
    sample = jhmdb[0]['data_samples']
    folder = tmp_path / 'joints' / sample.sequence
    folder.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match='joint_positions'):
        draw_propagation(jhmdb, 0, dict(joints=tmp_path / 'joints'))
    savemat(folder / 'joint_positions.mat', dict(pos_img=sample.gt_points + 1))
    picture = draw_propagation(jhmdb, 0, dict(joints=tmp_path / 'joints'))
    height = (picture.shape[0] - 26) // 2
    left = picture.shape[1] // 3  # right of the titles
    above, below = picture[26 : 26 + height, left:], picture[26 + height :, left:]
    assert np.array_equal(above, below)


def test_videos_side_by_side(davis, tmp_path):
    names = ['one', 'a name that is too long to stand above its panel', 'three', 'four']
    mask = np.ones((64, 96), np.uint8)
    predictions = {name: predict_masks(davis, tmp_path / name, mask) for name in names}
    one = draw_propagation_side_by_side(davis, 0, dict(one=predictions['one']), width=96)
    assert len(one) == len(davis[0]['data_samples'].frame_names)
    all_of_them = draw_propagation_side_by_side(davis, 0, predictions, frames=3, width=96)
    assert len(all_of_them) == 3 and len({frame.shape for frame in all_of_them}) == 1
    assert all_of_them[0].shape[0] == 2 * one[0].shape[0]  # four panels, and one below
    assert not np.array_equal(all_of_them[0], all_of_them[1])
