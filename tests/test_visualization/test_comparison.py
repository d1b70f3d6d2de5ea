"""The page is one complete file."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from mmvideomac.visualization import write_comparison
from mmvideomac.visualization.comparison import MAX_CLIPS, ClipVideo, Difference, TaskResults
from mmvideomac.visualization.video_writer import encode_webp


@pytest.fixture
def write(tmp_path):
    def write(tasks=(), **changes):
        page = dict(
            title='Which <one>?',
            head=['encoder', 'setting', 'J&F'],
            lines=[['<a>', 'dino', '50.00*'], ['b', 'dino', '60.00']],
            notes=['<a>: clip "x" is broken'],
            tasks=tasks,
            facts=dict(torch='2.8'),
            encoders={'<a>': 'runs/<a>.pth', 'b': 'timm:b'},
            command='python tools/x.py "<a>" > log',
        )
        write_comparison(tmp_path / 'new/page.html', **{**page, **changes})
        return (tmp_path / 'new/page.html').read_text()

    return write


def task(values, clips, videos=()):
    interval = dict(mean=float(np.mean(list(clips.values()))), low=-2.5, high=7.25)
    return TaskResults(
        'Objects', 'J&F', '<a>', values, {'b<': Difference(clips, **interval)}, videos
    )


def test_clips_are_sorted_by_gain_and_drawn(write):
    html = write([task(dict(x=50.0, y=40.0, z=1.0), dict(x=-4.0, y=8.0, z=0.0))])
    places = [html.index(f'<th>{name}</th>') for name in ('mean', 'y', 'z', 'x')]
    assert places == sorted(places)
    assert '+1.3 <span class="interval">[-2.5, +7.2]</span>' in html  # 4/3, 7.25
    bars = re.findall(r'class="bar (\w+)".*?<rect x="([-.\d]+)" y="2" width="([.\d]+)"', html, re.S)
    assert bars[1:] == [
        ('gain', '0.00', '50.00'),
        ('gain', '0.00', '0.00'),
        ('loss', '-25.00', '25.00'),
    ]
    assert html.count('<path ') == 1  # the interval


def test_of_many_clips_the_ends_are_shown(write):
    clips = {f'clip{number:03}': float(number) for number in range(MAX_CLIPS + 3)}
    html = write([task(dict.fromkeys(clips, 50.0), clips)])
    shown = re.findall(r'<th>clip(\d+)</th>', html)
    assert len(shown) == MAX_CLIPS and shown[0] == f'{MAX_CLIPS + 2:03}' and shown[-1] == '000'
    assert f'The {MAX_CLIPS} clips of the largest gains and losses, of\n{len(clips)}' in html


def test_one_encoder_and_no_clip(write):
    assert 'clip by clip' not in write()
    html = write([TaskResults('Objects', 'J&F', '', {}, {})])
    assert 'bootstrap' not in html


def test_names_are_escaped_and_nothing_else_is_needed(write):
    webp = encode_webp([np.full((8, 8, 3), value, np.uint8) for value in (0, 255)], 8)
    video = ClipVideo('<v>', webp, {'<a>': 51.25, 'b<': float(3)})
    html = write([task(dict(x=1.0), dict(x=2.0), [video])])
    assert '<a>' not in html and 'Which &lt;one&gt;?' in html and '&lt;v&gt;' in html
    assert 'python tools/x.py &#34;&lt;a&gt;&#34; &gt; log' in html
    assert '<script' not in html and 'url(' not in html and '@import' not in html
    references = re.findall(r'(?:src|href|srcset)="([^"]*)"', html)
    assert len(references) == 1 and references[0].startswith('data:image/webp;base64,')


def test_a_webp_plays(tmp_path):
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (0, 120, 250)]
    picture = Image.open(io.BytesIO(encode_webp(frames, 8)))
    assert (picture.format, picture.n_frames, picture.size) == ('WEBP', 3, (30, 20))
    assert picture.info['loop'] == 0
    for number, value in enumerate((0, 120, 250)):
        picture.seek(number)
        assert abs(np.asarray(picture.convert('RGB'), int) - value).max() < 12
    assert picture.info['duration'] == 125
