import json

import numpy as np
import pytest
from PIL import Image

from mmvideomac.apis.first_label import first_mask, first_points
from tests.test_apis.clips import write_mask

SIZE = (6, 8)


@pytest.fixture
def ids():
    mask = np.zeros(SIZE, np.uint8)
    mask[1:3, 2:5], mask[4, 6] = 1, 7
    return mask


def test_ids_of_every_kind_of_file(tmp_path, ids):
    path = tmp_path / 'm.png'
    np.testing.assert_array_equal(first_mask(write_mask(path, ids), SIZE), ids)
    Image.fromarray(ids).save(path)
    np.testing.assert_array_equal(first_mask(path, SIZE), ids)
    for image in (Image.fromarray(255 * (ids > 0).astype(np.uint8)), Image.fromarray(ids > 0)):
        image.save(path)
        np.testing.assert_array_equal(first_mask(path, SIZE), ids > 0)


def test_255_beside_other_ids_is_void(ids):
    with_void = ids.copy()
    with_void[0, 0] = 255
    np.testing.assert_array_equal(first_mask(with_void, SIZE), ids)


def test_a_mask_of_the_same_aspect_is_resized(ids):
    enlarged = ids.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(first_mask(ids, (12, 16)), enlarged)
    np.testing.assert_array_equal(first_mask(enlarged, SIZE), ids)
    assert first_mask(np.ones((1080, 1920), np.uint8), (480, 854)).shape == (480, 854)


def test_bad_masks(tmp_path, ids):
    path = tmp_path / 'm.png'
    Image.fromarray(ids).convert('RGB').save(path)
    with pytest.raises(ValueError, match=r'm\.png: the mask is a RGB image, not an indexed one'):
        first_mask(path, SIZE)
    with pytest.raises(ValueError, match=r'm\.png shows no object'):
        first_mask(write_mask(path, 0 * ids), SIZE)
    with pytest.raises(ValueError, match=r'm\.png is 8x6, the video 8x8'):
        first_mask(write_mask(path, ids), (8, 8))
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(SIZE)).save(path)
    with pytest.raises(ValueError, match=r'm\.png has 47 different grey values'):
        first_mask(path, SIZE)
    with pytest.raises(ValueError, match='uint8'):
        first_mask(ids.astype(float), SIZE)


def test_points_with_and_without_names(tmp_path):
    path = tmp_path / 'p.json'
    for content, names in (([[1, 2], [7, 5.5]], None), ({'a': [1, 2], 'b': [7, 5]}, ['a', 'b'])):
        path.write_text(json.dumps(content))
        for source in (path, content):
            points, found = first_points(source, (7, 8))
            assert found == names and points.shape == (2, 2)
            assert points[:, 0].tolist() == [1, 2] and points[0, 1] == 7


@pytest.mark.parametrize(
    'text, message',
    [
        ('[[1, 2]', 'is no JSON'),
        ('[1, 2]', 'cannot be understood'),
        ('[]', 'cannot be understood'),
        ('{"nose": [1, 2, 3]}', 'cannot be understood'),
        ('[[1, 2], [3]]', 'cannot be understood'),
        ('{"nose": null}', 'cannot be understood'),
        ('3', 'cannot be understood'),
        ('[[1' + 400 * '0' + ', 2]]', 'cannot be understood'),
        ('[[1, 2], [8, 2]]', r'point 1 at \[8.0, 2.0\] is outside the frame, which is 8x6'),
        ('{"nose": [1, -1]}', 'point nose at'),
        ('[[1, NaN]]', 'point 0 at'),
    ],
)
def test_bad_points(tmp_path, text, message):
    path = tmp_path / 'p.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        first_points(path, SIZE)
    assert 'p.json' in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.json do not exist'):
        first_points(tmp_path / 'none.json', SIZE)
