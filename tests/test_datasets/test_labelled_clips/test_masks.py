import io

import numpy as np
import pytest
from PIL import Image

from mmvideomac.datasets import VideoReadError
from mmvideomac.datasets.labelled_clips.masks import PALETTE, encode_mask, load_mask, read_mask
from tests.test_datasets.helpers import real_data

from .layouts import save_mask


def test_values_and_palette(tmp_path):
    values = [[0, 1, 255], [2, 7, 0]]
    for mode in 'PL':
        save_mask(tmp_path / 'a.png', values, mode)
        found, indexed = read_mask(str(tmp_path / 'a.png'))
        assert found.dtype == np.uint8 and found.tolist() == values and indexed is (mode == 'P')
    save_mask(tmp_path / 'a.png', [[0, 255]], '1')
    found, indexed = read_mask(str(tmp_path / 'a.png'))
    assert found.dtype == np.uint8 and found.tolist() == [[0, 255]] and not indexed


def test_255_is_void_or_the_object(tmp_path):
    save_mask(tmp_path / 'a.png', [[0, 3, 255]])
    assert load_mask(str(tmp_path / 'a.png')).tolist() == [[0, 3, 0]]
    save_mask(tmp_path / 'a.png', [[0, 255]], 'L')
    assert load_mask(str(tmp_path / 'a.png'), binary=True).tolist() == [[0, 1]]


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA'])
def test_a_colour_mask_is_refused(tmp_path, mode):
    save_mask(tmp_path / 'a.png', [[0, 1]], mode)
    with pytest.raises(ValueError, match=rf'a\.png: the mask is a {mode} image'):
        read_mask(str(tmp_path / 'a.png'))


def test_an_unreadable_mask_is_named(tmp_path):
    with pytest.raises(VideoReadError, match=r'a\.png'):
        read_mask(str(tmp_path / 'a.png'))


def test_encoding_is_indexed_and_lossless():
    mask = np.arange(30, dtype=np.uint8).reshape(5, 6)
    image = Image.open(io.BytesIO(encode_mask(mask)))
    assert image.mode == 'P'
    np.testing.assert_array_equal(np.array(image), mask)
    assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def test_the_palette_is_that_of_davis():
    path = real_data('davis', 'Annotations', '480p', 'blackswan', '00000.png')
    assert bytes(Image.open(path).getpalette()) == PALETTE
