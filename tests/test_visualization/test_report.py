"""The report is one complete file, made from what runs left behind."""

import json
import re

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmvideomac.visualization import write_report
from mmvideomac.visualization.curves import read_run
from mmvideomac.visualization.report import contact_sheet
from tests.test_engine.tiny import tiny_config
from tests.test_visualization.runs import resumed_twice, train, write_start


@pytest.fixture
def work_dir(tmp_path):
    """A finished run of 40 iterations, as mmengine leaves it."""
    records = [
        train(
            step,
            step // 5,
            loss=2 - step / 100,
            loss_online=1 - step / 100,
            loss_target=1.0,
            time=0.6,
            lr=1e-3,
            momentum=0.996,
            pairs_per_s=50.0,
        )
        for step in (10, 20, 30, 40)
    ]
    events = [
        'INFO - FramePairDataset: 8 videos, 48 frames, 40 pairs per epoch',
        'INFO - Saving checkpoint at 8 epochs',
    ]
    pictures = [(0, 'red'), (9, 'yellow'), (40, 'blue')]
    config = tiny_config(tmp_path / 'my <videos>', epochs=8)
    write_start(tmp_path / 'work', '20260102_030405', records, config, events, pictures)
    (tmp_path / 'work' / 'last_checkpoint').write_text('work/epoch_8.pth')
    return tmp_path / 'work'


@pytest.fixture
def other(tmp_path):
    """A run of another method, resumed twice, whose name is a script."""
    config = Config(
        dict(
            model=dict(type='SiamMAE', backbone=dict(type='ViT', arch='tiny'), loss='<b>'),
            train_cfg=dict(max_epochs=6),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.5)),
        )
    )
    return resumed_twice(tmp_path / '<img src=x onerror=alert(1)>', config)


def report(tmp_path, *work_dirs, **options):
    """The text of the page."""
    write_report([*map(read_run, work_dirs)], tmp_path / 'new/report.html', 'Run <1>', **options)
    return (tmp_path / 'new/report.html').read_text()


def rows(html):
    """Text of the cells of every row of the tables."""
    cells = [
        re.findall(r'<t[hd].*?</t[hd]>', row, re.S)
        for row in re.findall(r'<tr.*?</tr>', html, re.S)
    ]
    return [[' '.join(re.sub(r'<[^>]+>', ' ', cell).split()) for cell in row] for row in cells]


def test_report_says_what_was_run(work_dir, tmp_path):
    html = report(tmp_path, work_dir, next_steps=[('Do & see:', 'ls "a" > b')])
    for text in (
        'Run &lt;1&gt;',
        'SparseConvNeXtV2',
        'my &lt;videos&gt;',
        '8 videos, 48 frames, 40 pairs per epoch',
        '40 in 8 epochs',
        '0.4 minutes',
        '50 pairs/s',
        '2 x NVIDIA H100 80GB HBM3',
        'PyTorch 2.13.0+cu130, MMEngine 0.10.7, Python 3.11.7',
        '<dt>State</dt><dd>finished</dd>',
        '<dt>Elapsed</dt><dd>10.0 minutes</dd>',
        'work/epoch_8.pth',
        'Before training',
        'After 9 iterations',
        'After 40 iterations',
        'Do &amp; see:',
        'ls &#34;a&#34; &gt; b',
    ):
        assert text in html, text
    assert ['loss', '1.9000', '1.6000', '-0.3000'] in rows(html)
    assert html.count('<figcaption>Losses') == 1
    assert html.count('<svg') == 4  # losses, learning rate, momentum, speed
    assert html.count('<img') == 3
    for section in ('Starts', 'Scores', 'Settings that differ', 'Following labels', 'Data'):
        assert f'<h2>{section}</h2>' not in html


def test_report_needs_nothing_but_itself(work_dir, other, tmp_path):
    for runs in ([work_dir], [work_dir, other]):
        html = report(tmp_path, *runs)
        assert '<script' not in html and 'url(http' not in html and '@import' not in html
        references = re.findall(r'(?:src|href|srcset)="([^"]*)"', html)
        assert references and all(r.startswith(('data:image/', '#')) for r in references)
        assert 'http-equiv' not in html
    assert 'http-equiv="refresh" content="5"' in report(tmp_path, work_dir, refresh=5)


def test_a_run_resumed_twice(other, tmp_path):
    """The lost iterations 41 to 50 are in no curve and no sum."""
    html = report(tmp_path, other)
    table = rows(html)
    assert ['loss', '1.9500', '1.4000', '-0.5500'] in table
    assert '60 in 6 epochs' in html and '-1.0000' not in html
    assert '<dd>30.0 minutes in 3 starts</dd>' in html
    assert f'<dd>{60 * 0.5 / 60:.1f} minutes</dd>' in html and '2.00 steps/s' in html
    assert '<dd>960 MiB</dd>' in html
    assert ['01 Jan 2026, 10:00', '0 to 27', '10.0 minutes', 'stopped by SIGTERM'] in table
    assert ['03 Jan 2026, 10:00', '40 to 60', '10.0 minutes', 'finished'] in table
    assert ['davis/J&amp;F', '30.50', '40.25', '6', '40.25'] in table
    assert 'probe_time' not in html
    # The picture of iteration 50 was lost too.
    captions = re.findall(r'<figcaption>(Before .*?|After .*?)</figcaption>', html)
    assert captions == ['Before training', 'After 25 iterations', 'After 60 iterations']


def test_runs_side_by_side(work_dir, other, tmp_path):
    html = report(tmp_path, work_dir, other)
    table = rows(html)
    name = '&lt;img src=x onerror=alert(1)&gt;'
    assert '<img src=x' not in html and name in html
    assert ['', 'work', name] in table
    assert ['Method', 'VideoMAC', 'SiamMAE'] in table
    assert ['model.type', 'VideoMAC', 'SiamMAE'] in table
    assert ['model.loss', '-', '&lt;b&gt;'] in table
    assert ['optim_wrapper.optimizer.lr', '0.02', '0.5'] in table
    assert ['Versions', *['PyTorch 2.13.0+cu130, MMEngine 0.10.7, Python 3.11.7'] * 2] in table
    assert ['loss work', '1.9000', '1.6000', '-0.3000'] in table
    assert [f'loss {name}', '1.9500', '1.4000', '-0.5500'] in table
    assert ['loss_online work', '0.9000', '0.6000', '-0.3000'] in table
    # Loss, learning rate, ... of either: a panel for each.
    captions = re.findall(r'</svg>\s*<figcaption>(.*?)</figcaption>', html)
    assert captions == [
        'loss',
        'loss_online',
        'loss_target',
        'Learning rate',
        'EMA momentum of the target',
        'Speed: pairs per second',
        'Speed: seconds per iteration',
        'davis/J&amp;F',
    ]
    # Both runs in the first panel, the first alone in the second.
    first, second = re.findall(r'<figure><svg.*?</svg>', html, re.S)[:2]
    assert '#1f77b4' in first and '#ff7f0e' in first
    assert '#1f77b4' in second and '#ff7f0e' not in second
    assert html.count('<h3>') == 2


def test_runs_of_one_config(work_dir, tmp_path):
    html = report(tmp_path, work_dir, work_dir)
    assert '<p>None.</p>' in html[html.index('Settings that differ') :]


def test_more_runs_than_colours(other, tmp_path):
    write_report([read_run(other, f'r{n}') for n in range(12)], tmp_path / 'a.html', 'Many')
    html = (tmp_path / 'a.html').read_text()
    assert html.count('stroke-dasharray="7 4"') > 2
    assert ['Method', *['SiamMAE'] * 12] in rows(html)


def test_any_method(tmp_path):
    """A fine-tuning: no frame pairs, no pictures, and other scores."""
    config = Config(dict(model=dict(type='ImageClassifier'), train_cfg=dict(max_iters=9)))
    records = [train(i, 1, loss=1 / i, accuracy_top1=i, grad_norm=1.0) for i in (3, 6)]
    records.append({'accuracy/top1': 50.0, 'zeta': 1.0, 'alpha': 2.0, 'step': 6})
    write_start(tmp_path / 'run', '20260101_000000', records, config)
    html = report(tmp_path, tmp_path / 'run')
    captions = re.findall(r'</svg>\s*<figcaption>(.*?)</figcaption>', html)
    assert captions == ['loss', 'accuracy_top1', 'grad_norm', 'accuracy/top1', 'alpha', 'zeta']
    assert 'Training time' not in html and '<dd>6</dd>' in html


def test_what_is_missing_is_left_out(work_dir, other, tmp_path):
    folder = work_dir / '20260102_030405'
    (folder / '20260102_030405.log').unlink()
    (folder / 'vis_data/config.py').unlink()
    (folder / 'vis_data/vis_image/reconstruction_0.png').write_bytes(b'no picture')
    (folder / 'vis_data/vis_image/reconstruction_x.png').write_bytes(b'of no iteration')
    picture = folder / 'vis_data/vis_image/reconstruction_9.png'
    picture.write_bytes(picture.read_bytes()[:60])
    html = report(tmp_path, work_dir)
    assert 'The config is missing beside the log' in html and 'Hardware' not in html
    assert html.count('<img') == 1 and '40 in 8 epochs' in html
    assert re.search(r'Before training: .*reconstruction_0\.png cannot be read', html)
    assert re.search(r'After 9 iterations: .*reconstruction_9\.png cannot be read', html)
    html = report(tmp_path, work_dir, other)
    assert 'The config of work is missing beside its log' in html
    assert ['Method', '', 'SiamMAE'] in rows(html) and '<p>None.</p>' not in html


def test_data_is_shown(work_dir, tmp_path, videos):
    html = report(tmp_path, work_dir, videos=contact_sheet(videos))
    assert '<h2>Data</h2>' in html and html.count('<img') == 4


@pytest.fixture
def videos(tmp_path):
    """A data set of five videos of plain colours."""
    init_default_scope('mmvideomac')
    from mmvideomac.registry import DATASETS

    for number in range(5):
        folder = tmp_path / f'videos/{number}'
        folder.mkdir(parents=True)
        for frame in range(2):
            colour = (40 * number + 30, 0, 200 * frame)
            Image.new('RGB', (80, 60), colour).save(folder / f'{frame}.png')
    return DATASETS.build(dict(type='FramePairDataset', data_root=str(tmp_path / 'videos')))


def test_contact_sheet_shows_first_frames(videos):
    sheet = contact_sheet(videos, count=5, height=60, columns=4)
    assert sheet.shape == (120, 320, 3)
    centres = [tuple(sheet[30 + 60 * (n // 4), 40 + 80 * (n % 4)]) for n in range(8)]
    assert centres == [(40 * n + 30, 0, 0) for n in range(5)] + [(128, 128, 128)] * 3


def test_followed_labels(work_dir, tmp_path):
    folder = tmp_path / 'evaluation'
    folder.mkdir()
    assert 'Following labels' not in report(tmp_path, work_dir, evaluation=folder)
    (folder / 'results.json').write_text('[]')
    assert 'Following labels' not in report(tmp_path, work_dir, evaluation=folder)
    lines = [
        dict(encoder='<a>.pth', setting='dino, stage 3', metrics={'davis/J&F': 71.25}),
        dict(encoder='<a>.pth', setting='dino', metrics={}),
        dict(encoder='random', setting='dino, stage 3', metrics={'davis/J&F': 55.0}),
    ]
    (folder / 'results.json').write_text(json.dumps(lines))
    Image.new('RGB', (40, 30)).save(folder / 'davis_dog.png')
    html = report(tmp_path, work_dir, evaluation=folder)
    table = rows(html)
    assert ['&lt;a&gt;.pth', '71.2'] in table and ['random', '55.0'] in table
    assert '(dino, stage 3)' in html and html.count('<figcaption>Objects (DAVIS)') == 1
