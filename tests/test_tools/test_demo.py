"""tools/demo.py as its users meet it: over HTTP, hostile ones too, and in a browser."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmvideomac.apis import LabelPropagationInferencer
from mmvideomac.datasets.labelled_clips.masks import load_mask
from tests.test_apis.clips import LENGTH, write_video
from tests.test_engine.tiny import REPOSITORY, tiny_config
from tests.test_evaluation.clips import write_davis, write_jhmdb
from tests.test_tools.tools import load_tool

pytest.importorskip('gradio', reason="pip install -e '.[demo]'")
import httpx

CHROMIUM = shutil.which('chromium') or shutil.which('google-chrome')
PEN = ['Brush', 1, 8]
CHOICE = ['color', 'none', 'default', '8', 'default', '240']


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """The page on a port of its own: its address, and the folder that its files are in."""
    folder = tmp_path_factory.mktemp('demo')
    write_davis(folder / 'samples/davis', 2)
    write_jhmdb(folder / 'samples/jhmdb')
    (folder / 'samples/manifest.json').write_text('{"complete": true}')
    cfg = tiny_config(folder)
    cfg.custom_imports.imports = ['mmvideomac']
    cfg.dump(folder / 'tiny.py')
    (folder / 'tmp').mkdir()
    environment = dict(os.environ, TMPDIR=str(folder / 'tmp'), PYTHONUNBUFFERED='1')
    command = [sys.executable, '-W', 'ignore', 'tools/demo.py', '--samples', folder / 'samples']
    process = subprocess.Popen(
        [*command, '--encoder', f'{folder}/tiny.py:random@name=tiny', 'color', '--max-mb', '0.2'],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith('Open '):
            break
    assert said[-1].startswith('Open http://127.0.0.1:'), ''.join(said)
    yield SimpleNamespace(url=said[-1].split()[1], folder=folder, files=folder / 'tmp')
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, process.stdout.read()
    assert not list((folder / 'tmp').iterdir())


class Page:
    """What a browser does with the page, or somebody who pretends to be one."""

    def __init__(self, url):
        self.client = httpx.Client(base_url=url, timeout=60)
        self.key = uuid.uuid4().hex
        config = self.client.get('config').json()
        names = {c['id']: c['props'].get('elem_id') for c in config['components']}
        self.functions = {
            (names.get(target), event): dependency['id']
            for dependency in config['dependencies']
            for target, event in dependency['targets']
        }
        self.outputs = {
            dependency['id']: [names[i] for i in dependency['outputs']]
            for dependency in config['dependencies']
        }

    def call(self, element, event, *data, event_data=None):
        """What an event answers: element -> value, or the message of an error as a string."""
        function = self.functions[element, event]
        request = dict(data=data, fn_index=function, session_hash=self.key, event_data=event_data)
        joined = self.client.post('gradio_api/queue/join', json=request)
        if joined.status_code != 200:
            return joined.text
        parameters = dict(session_hash=self.key)
        with self.client.stream('GET', 'gradio_api/queue/data', params=parameters) as answer:
            for line in answer.iter_lines():
                message = json.loads(line.removeprefix('data: ') or '{}') if line else {}
                if message.get('msg') == 'process_completed':
                    output = message['output']
                    if not message['success']:
                        return str(output.get('error'))
                    return dict(zip(self.outputs[function], output['data'], strict=True))
        raise AssertionError('no answer')

    def upload(self, name, data):
        return self.client.post('gradio_api/upload', files={'files': (name, data)})

    def open_upload(self, path):
        file = dict(path=str(path), meta={'_type': 'gradio.FileData'})
        return self.call('upload', 'upload', file, *PEN)

    def open_sample(self, name):
        return self.call('sample', 'input', name, *PEN)


@pytest.fixture
def page(server):
    return Page(server.url)


@pytest.fixture(scope='module')
def video(server):
    write_video(server.folder / 'video.mp4')
    return (server.folder / 'video.mp4').read_bytes()


def test_the_page_needs_nothing_from_elsewhere(page):
    answer = page.client.get('')
    assert answer.status_code == 200 and 'google' not in answer.text
    policy = answer.headers['content-security-policy']
    assert "default-src 'self'" in policy and 'http' not in policy
    config = page.client.get('config').json()
    assert config['analytics_enabled'] is False
    theme = page.client.get('theme.css').text
    assert '@import' not in theme and 'https:' not in theme


def test_a_stroke_is_followed(page, server):
    assert page.open_sample('a (objects)')['status'] == 'a (objects): 5 frames of 96x64 pixels'
    path = [[16, 24], [24, 24], [24, 32], [16, 32]]
    drawn = page.call('marks', 'draw', 0, *PEN, event_data=dict(path=path))
    assert drawn['marks']['src'].startswith('data:image/jpeg;base64,')
    answer = page.call('run', 'click', *CHOICE)
    assert answer['status'] == 'Done' and 'J&F' in answer['scores']
    names = [file['orig_name'] for file in answer['files']]
    assert names == ['first_mask.png', 'overlay_1.mp4', 'overlay_1_masks.zip']
    for file in answer['files']:
        assert page.client.get(f'gradio_api/file={file["path"]}').status_code == 200
    assert ' --encoder color@stride=8 --input-size 240' in answer['command']
    costs = page.call('measure', 'click', *CHOICE)['costs']
    assert 'videomac, input size 240, stride 8 | ' in costs
    for kind in ('what matches the pixel', 'components (PCA)'):
        place = dict(place=[20, 28])
        looked = page.call('look0', 'hover', *CHOICE, 0, 2, kind, event_data=place)
        assert looked['look1']['kind'] == 'shows' and looked['look2']['kind'] == 'empty'


def test_files_that_are_not_of_the_session_are_not_served(page, server):
    paths = ['/etc/passwd', REPOSITORY / 'README.md', 'README.md', server.folder / 'tiny.py']
    paths += ['../' * 12 + 'etc/passwd', '..%2f' * 12 + 'etc%2fpasswd', 'tools/demo.py']
    paths += [server.folder / 'samples/davis/ImageSets/2017/val.txt', server.files]
    for path in paths:
        answer = page.client.get(f'gradio_api/file={path}')
        assert answer.status_code in (403, 404), path
        for text in ('root:', 'mmvideomac', 'import'):
            assert text not in answer.text


@pytest.mark.parametrize(
    'path',
    [
        '/etc/passwd',
        'README.md',
        '{folder}/video.mp4',
        '{folder}/samples/davis/../../video.mp4',
        'http://127.0.0.1:1/video.mp4',
        'http://localhost/video.mp4',
        'file:///etc/passwd',
    ],
)
def test_a_path_that_the_page_sends_is_never_opened(page, server, video, path):
    page.open_sample('a (objects)')
    answer = page.open_upload(path.format(folder=server.folder))
    assert isinstance(answer, str) and 'root:' not in answer
    shown = page.call('frame', 'input', 4, *PEN)  # of the sample, still
    assert shown['marks']['width'] == 96


def test_an_upload_that_is_too_large(page, server):
    before = sorted(server.files.rglob('*'))
    answer = page.upload('big.mp4', bytes(300_000))
    assert answer.status_code == 413 and 'maximum allowed size' in answer.text
    assert sorted(server.files.rglob('*')) == before
    assert page.upload('small.mp4', bytes(1000)).status_code == 200


def test_what_is_no_video(page, server):
    for name, data in [('v.mp4', b'not a video'), ('v.mp4', b''), ('v.png', b'\x89PNG\r\n')]:
        (path,) = page.upload(name, data).json()
        answer = page.open_upload(path)
        assert isinstance(answer, str), name
        assert str(server.files) not in answer
    assert 'frames' in page.open_sample('a (objects)')['status']


@pytest.mark.parametrize(
    'name',
    [
        '../../../../evil.mp4',
        '/etc/evil.mp4',
        '..\\evil.mp4',
        f'{"e" * 300}.mp4',
        '<img src=x onerror=alert(1)>.mp4',
        '$(touch evil); touch evil.mp4',
    ],
)
def test_names_of_uploads(page, server, video, name):
    answer = page.upload(name, video)
    if answer.status_code != 200:
        assert answer.status_code < 500
        return
    (path,) = answer.json()
    opened = page.open_upload(path)
    assert f'{LENGTH} frames' in opened['status'] and '<' not in opened['status']
    assert not any(path.name.startswith('evil') for path in server.folder.rglob('*'))
    page.call('marks', 'draw', 0, 'Click points', 1, 8, event_data=dict(path=[[20, 28]]))
    command = page.call('run', 'click', *CHOICE)['command']
    assert '$(' not in command.replace("'", '') and ';' not in command
    assert len([path for path in server.files.rglob('upload*') if path.is_file()]) >= 1


@pytest.mark.parametrize(
    ('element', 'event', 'data', 'event_data'),
    [
        ('sample', 'input', ['/etc/passwd', *PEN], None),
        ('sample', 'input', [{'path': '/etc/passwd'}, *PEN], None),
        ('marks', 'draw', [0, *PEN], dict(path=[['/etc', 'passwd']])),
        ('marks', 'draw', [0, *PEN], dict(path=[[1, 1]] * 30_000)),
        ('marks', 'draw', [0, *PEN], dict()),
        ('marks', 'draw', [0, *PEN], None),
        ('marks', 'draw', [999, *PEN], dict(path=[[1, 1]])),
        ('marks', 'draw', [0, 'Brush', 999, 8], dict(path=[[1, 1]])),
        ('marks', 'draw', [0, 'Brush', '<script>', 8], dict(path=[[1, 1]])),
        ('frame', 'input', ['__import__("os")', *PEN], None),
        ('frame', 'input', [-1, *PEN], None),
        ('run', 'click', ['/etc/passwd', *CHOICE[1:]], None),
        ('run', 'click', ['timm:resnet50', *CHOICE[1:]], None),
        ('run', 'click', [*CHOICE[:3], '0', *CHOICE[4:]], None),
        ('run', 'click', CHOICE, None),
        ('look0', 'hover', [*CHOICE, 0, 2, 'x'], dict(place='here')),
        ('look0', 'hover', [*CHOICE, 0, 2, 'components (PCA)'], None),
    ],
)
def test_requests_that_no_page_sends(page, element, event, data, event_data):
    page.open_sample('a (objects)')
    answer = page.call(element, event, *data, event_data=event_data)
    assert isinstance(answer, str) or (element, event) == ('look0', 'hover')
    assert 'root:' not in str(answer)
    assert page.call('frame', 'input', 1, *PEN)['marks']['width'] == 96


def test_a_request_without_a_session_or_by_another_name(page):
    assert page.client.get('', headers={'host': 'evil.example'}).status_code == 400
    page.key = ''
    assert isinstance(page.open_sample('a (objects)'), str)


def test_two_users_at_once(server):
    one, two = Page(server.url), Page(server.url)
    one.open_sample('a (objects)')
    two.open_sample('b (objects)')
    one.call('marks', 'draw', 1, *PEN, event_data=dict(path=[[20, 28]]))
    assert isinstance(two.call('run', 'click', *CHOICE), str)  # nothing is marked there
    two.call('labels', 'click', 0, *PEN)
    first, second = one.call('run', 'click', *CHOICE), two.call('run', 'click', *CHOICE)
    assert '--start 1' in first['command'] and '/a ' in first['command']
    assert '--start' not in second['command'] and '/b ' in second['command']
    paths = [{file['path'] for file in answer['files']} for answer in (first, second)]
    assert not paths[0] & paths[1]
    one.open_sample('c (joints)')
    assert not any(os.path.exists(path) for path in paths[0])
    assert all(os.path.exists(path) for path in paths[1])


def test_a_closed_page_leaves_nothing(server, video):
    page = Page(server.url)
    with page.client.stream('GET', f'gradio_api/heartbeat/{page.key}') as heartbeat:
        beats = heartbeat.iter_lines()
        next(beats)
        (path,) = page.upload('video.mp4', video).json()
        assert f'{LENGTH} frames' in page.open_upload(path)['status']
        folders = {path.parent for path in server.files.rglob('upload.mp4')}
        assert folders and not os.path.exists(path)
    for _ in range(100):
        left = {path.parent for path in server.files.rglob('upload.mp4')}
        if left < folders:
            break
        time.sleep(0.1)
    assert left < folders


def test_without_gradio_and_bad_arguments(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / 'tools'))
    tool = load_tool('demo')
    assert tool.main(['--max-mb', '0']) == 1
    assert '--max-mb must be above 0' in capsys.readouterr().err
    assert tool.main(['--encoder', 'none.pth']) == 1
    assert 'the checkpoint none.pth does not exist' in capsys.readouterr().err
    monkeypatch.setattr(tool, 'find_spec', lambda name: None)
    assert tool.main(['--encoder', 'color']) == 1
    assert "pip install -e '.[demo]'" in capsys.readouterr().err


def test_encoders_by_default(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / 'tools'))
    tool = load_tool('demo')
    monkeypatch.setattr(tool, 'QUICKSTART', tmp_path)
    assert tool.default_encoders() == ['convnextv2_atto:random', 'color']
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/last_checkpoint').write_text('/runs/epoch_3.pth\n')
    assert tool.default_encoders() == ['/runs/epoch_3.pth', 'convnextv2_atto:random', 'color']


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium: bash tools/install_chromium.sh')
def test_a_person_marks_an_object_and_downloads_the_overlay(server, tmp_path):
    sync_api = pytest.importorskip('playwright.sync_api')
    outside = []
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not run as root, as in a container.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=1280, height=900))
        page.on('request', lambda request: outside.append(request.url))
        page.goto(server.url)
        page.wait_for_selector('#status:has-text("5 frames of 96x64")')
        box = page.locator('#marks canvas').bounding_box()
        scale = box['width'] / 96

        def move(x, y):
            page.mouse.move(box['x'] + (x + 0.5) * scale, box['y'] + (y + 0.5) * scale)

        picture = page.locator('#marks img').get_attribute('src')
        move(16, 24)
        page.mouse.down()
        for place in ((24, 24), (24, 32), (16, 32)):
            move(*place)
        page.mouse.up()
        page.wait_for_function(
            'old => document.querySelector("#marks img").src !== old', arg=picture
        )
        page.click('#run')
        page.wait_for_selector('#status:has-text("Done")')
        with page.expect_download() as overlay:
            page.locator('#files a[download]').nth(1).click()
        overlay.value.save_as(tmp_path / 'overlay.mp4')
        with page.expect_download() as masks:
            page.locator('#files a[download]').nth(2).click()
        masks.value.save_as(tmp_path / 'masks.zip')
        with page.expect_download() as first:
            page.locator('#files a[download]').nth(0).click()
        first.value.save_as(tmp_path / 'first.png')
        browser.close()
    assert all(url.startswith((server.url, 'data:', 'blob:')) for url in outside), outside

    mask = load_mask(str(tmp_path / 'first.png'))
    drawn = np.zeros_like(mask)
    path = np.array([[16, 24], [24, 24], [24, 32], [16, 32]])
    cv2.polylines(drawn, [path], False, 1, 24)  # of radius 12, the default
    assert (mask > 0).sum() > 300 and ((mask > 0) != (drawn > 0)).mean() < 0.03
    inferencer = LabelPropagationInferencer(
        f'{server.folder}/tiny.py:random@stage=3,stride=16', 'cpu'
    )
    clip = server.folder / 'samples/davis/JPEGImages/480p/a'
    expected = inferencer(
        clip, first_mask=mask, out=tmp_path / 'expected.mp4', show_progress=False
    ).labels
    with zipfile.ZipFile(tmp_path / 'masks.zip') as archive:
        archive.extractall(tmp_path / 'masks')
    found = [load_mask(str(path)) for path in sorted((tmp_path / 'masks').iterdir())]
    np.testing.assert_array_equal(found, expected)
    assert (tmp_path / 'overlay.mp4').read_bytes() == (tmp_path / 'expected.mp4').read_bytes()
