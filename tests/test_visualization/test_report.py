"""The report is one complete file, made from what a run left behind."""

import json
import re

import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.visualization import write_report
from mmvideomac.visualization.report import contact_sheet
from tests.test_engine.tiny import tiny_config, write_videos


@pytest.fixture
def work_dir(tmp_path):
    """A finished run of 40 iterations, as mmengine leaves it."""
    init_default_scope('mmvideomac')
    videos = tmp_path / 'my <videos>'
    videos.mkdir()
    write_videos(videos)
    vis_data = tmp_path / 'work' / '20260102_030405' / 'vis_data'
    (vis_data / 'vis_image').mkdir(parents=True)
    tiny_config(videos, epochs=8).dump(vis_data / 'config.py')
    with open(vis_data / 'scalars.json', 'w') as file:
        for step in (10, 20, 30, 40):
            record = dict(
                loss=2 - step / 100, loss_online=1 - step / 100, loss_target=1.0, time=0.6
            )
            record |= dict(lr=1e-3, momentum=0.996, pairs_per_s=50.0, epoch=step // 5, iter=step)
            file.write(json.dumps(record | dict(step=step)) + '\n')
        file.write('{"loss": 1.')  # killed while writing
    for step, colour in ((0, 'red'), (9, 'yellow'), (40, 'blue')):
        picture = Image.new('RGB', (40, 30), colour)
        picture.save(vis_data / 'vis_image' / f'reconstruction_{step}.png')
    (tmp_path / 'work' / 'last_checkpoint').write_text('work/epoch_8.pth')
    return tmp_path / 'work'


def test_report_says_what_was_run(work_dir, tmp_path):
    out = write_report(
        work_dir, tmp_path / 'new' / 'report.html', 'Run <1>', [('Do & see:', 'ls "a" > b')]
    )
    html = out.read_text()
    for text in (
        'Run &lt;1&gt;',
        'SparseConvNeXtV2',
        'my &lt;videos&gt;',
        '40 in 8 epochs',
        '0.4 minutes',
        '50 pairs/s',
        'work/epoch_8.pth',
        '<td>1.9000</td><td>1.6000</td><td>-0.3000</td>',
        'Before training',
        'After 40 iterations',
        'Do &amp; see:',
        'ls &#34;a&#34; &gt; b',
    ):
        assert text in html, text
    assert '>8<' in html and '>40<' in html  # videos, pairs per epoch
    assert html.count('<svg') == 3  # losses, learning rate, momentum
    assert html.count('<img') == 3  # first and last reconstruction, contact sheet


def test_report_needs_nothing_but_itself(work_dir, tmp_path):
    html = write_report(work_dir, tmp_path / 'report.html').read_text()
    assert '<script' not in html and 'url(http' not in html and '@import' not in html
    references = re.findall(r'(?:src|href|srcset)="([^"]*)"', html)
    assert references and all(r.startswith(('data:image/', '#')) for r in references)


def test_all_starts_of_a_resumed_run(work_dir, tmp_path):
    """It went on to 40 before it died, and was resumed from 20."""
    old = work_dir / '20260102_030405' / 'vis_data'
    newer = work_dir / '20260102_040000' / 'vis_data'
    (newer / 'vis_image').mkdir(parents=True)
    (work_dir / '20260102_050000' / 'vis_data').mkdir(parents=True)  # logged nothing
    (newer / 'config.py').write_text((old / 'config.py').read_text())
    records = [
        dict(loss=0.1234, time=1.2, pairs_per_s=20.0, epoch=5, iter=30, step=30),
        dict(score=0.5, time=99.0, step=6),  # of a validation
    ]
    (newer / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    Image.new('RGB', (40, 30), 'green').save(newer / 'vis_image' / 'reconstruction_30.png')
    html = write_report(work_dir, tmp_path / 'report.html').read_text()
    assert '<td>1.9000</td><td>0.1234</td><td>-1.7766</td>' in html
    assert '30 in 5 epochs' in html
    assert f'{(20 * 0.6 + 10 * 1.2) / 60:.1f} minutes' in html and '40 pairs/s' in html
    assert 'Before training' in html and 'After 30 iterations' in html
    assert html.count('<figcaption>After ') == 1


def test_nothing_logged_yet(tmp_path):
    with pytest.raises(FileNotFoundError, match='has logged anything'):
        write_report(tmp_path, tmp_path / 'report.html')
    assert not (tmp_path / 'report.html').exists()


def test_contact_sheet_shows_first_frames(tmp_path):
    init_default_scope('mmvideomac')
    from mmvideomac.registry import DATASETS

    for number in range(5):
        folder = tmp_path / f'video{number}'
        folder.mkdir()
        for frame in range(2):
            colour = (40 * number + 30, 0, 200 * frame)
            Image.new('RGB', (80, 60), colour).save(folder / f'{frame}.png')
    dataset = DATASETS.build(dict(type='FramePairDataset', data_root=str(tmp_path)))
    sheet = contact_sheet(dataset, count=5, height=60, columns=4)
    assert sheet.shape == (120, 320, 3)
    centres = [tuple(sheet[30 + 60 * (n // 4), 40 + 80 * (n % 4)]) for n in range(8)]
    assert centres == [(40 * n + 30, 0, 0) for n in range(5)] + [(128, 128, 128)] * 3


def test_followed_labels(work_dir, tmp_path):
    folder = tmp_path / 'evaluation'
    folder.mkdir()
    plain = write_report(work_dir, tmp_path / 'a.html', evaluation=folder).read_text()
    (folder / 'results.json').write_text('[]')
    assert 'Following labels' not in plain
    assert (
        'Following labels'
        not in write_report(work_dir, tmp_path / 'a.html', evaluation=folder).read_text()
    )
    rows = [
        dict(encoder='<a>.pth', setting='dino, stage 3', metrics={'davis/J&F': 71.25}),
        dict(encoder='<a>.pth', setting='dino', metrics={}),
        dict(encoder='random', setting='dino, stage 3', metrics={'davis/J&F': 55.0}),
    ]
    (folder / 'results.json').write_text(json.dumps(rows))
    Image.new('RGB', (40, 30)).save(folder / 'davis_dog.png')
    html = write_report(work_dir, tmp_path / 'a.html', evaluation=folder).read_text()
    assert '<th>&lt;a&gt;.pth</th><td>71.2</td>' in html and '<th>random</th><td>55.0</td>' in html
    assert '(dino, stage 3)' in html and html.count('<figcaption>Objects (DAVIS)') == 1
