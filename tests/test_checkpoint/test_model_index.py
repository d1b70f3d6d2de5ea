"""Weights by name. Files and a local server stand for the addresses."""

import hashlib
import http.server
import json
import threading
from functools import partial

import pytest
import torch
import yaml
from mmengine.runner.checkpoint import CheckpointLoader

from mmvideomac import get_encoder
from mmvideomac.checkpoint import model_index
from mmvideomac.checkpoint.encoder_config import build_encoder
from mmvideomac.checkpoint.export import publish
from mmvideomac.checkpoint.files import read_checkpoint
from mmvideomac.checkpoint.model_index import find_weights, named_weights
from mmvideomac.evaluation.benchmark import load_weights
from mmvideomac.evaluation.encoder_sources import parse_encoder
from mmvideomac.evaluation.label_propagation import LabelPropagation
from mmvideomac.utils.errors import UserError
from tests.test_checkpoint.test_export.encoders import V2, random_encoder

FCMAE = dict(V2, preset='fcmae')


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    """The package's index is that of a temporary folder, and so is the cache."""
    root = tmp_path / 'package'
    (root / 'configs').mkdir(parents=True)
    (root / 'configs' / 'tiny.py').write_text(f'model = dict(backbone={V2!r})\n')
    monkeypatch.setattr(model_index, 'config_folder', lambda: root / 'configs')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    def write(*rows):
        (root / 'model-index.yml').write_text('Import: [configs/metafile.yml]\n')
        (root / 'configs' / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=list(rows))))
        model_index._rows.cache_clear()

    yield write
    model_index._rows.cache_clear()


@pytest.fixture
def ours(index, tmp_path):
    """A published encoder behind its name; the server counts what is fetched."""
    encoder = random_encoder(V2, 3)
    checkpoint = tmp_path / 'epoch_1.pth'
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), checkpoint)
    (tmp_path / 'site').mkdir()
    published = publish(V2, checkpoint, tmp_path / 'site' / 'ours')
    fetched = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            fetched.append(self.path)

    handler = partial(Handler, directory=str(tmp_path / 'site'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f'http://127.0.0.1:{server.server_port}/{published.pth.name}'
        index(
            dict(Name='ours_tiny', Weights=url, Config='configs/tiny.py'),
            dict(Name='nothing_yet', Weights=None, Config='configs/tiny.py'),
        )
        try:
            yield encoder, published.pth, fetched
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def released(index, tmp_path):
    """An encoder as FCMAE's authors publish it."""
    encoder = random_encoder(FCMAE, 4)
    names = {'depthwise_conv': 'dwconv', 'pointwise_conv': 'pwconv'}
    state = {}
    for key, value in encoder.state_dict().items():
        for our, their in names.items():
            key = key.replace(our, their)
        state[key] = value.view(1, 1, 1, -1) if '.grn.' in key else value
    path = tmp_path / 'site.pt'
    torch.save(dict(model=state), path)
    index(dict(Name='tiny_fcmae', Weights=path.as_uri(), Encoder=FCMAE, License='CC-BY-NC-4.0'))
    return encoder, path


def same(encoder, other):
    ours, theirs = encoder.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_downloaded_once(ours, tmp_path):
    encoder, path, fetched = ours
    assert same(get_encoder('ours_tiny'), encoder)
    assert same(get_encoder('mmvideomac://ours_tiny'), encoder)
    assert len(fetched) == 1
    cached = tmp_path / 'hub' / 'checkpoints' / path.name
    assert cached.read_bytes() == path.read_bytes()
    assert list(cached.parent.iterdir()) == [cached]


@pytest.mark.parametrize('prefix', [{}, dict(prefix='backbone.')])
def test_init_cfg(ours, prefix):
    pretrained = dict(type='Pretrained', checkpoint='mmvideomac://ours_tiny', **prefix)
    encoder = build_encoder(dict(V2, init_cfg=pretrained))
    encoder.init_weights()
    assert same(encoder, ours[0])


def test_for_evaluation(ours):
    for spec in ('ours_tiny', 'mmvideomac://ours_tiny'):
        source = parse_encoder(f'{spec}@stage=2')
        assert (source.name, source.model['stage']) == ('ours_tiny', 2)
        assert not ours[2]  # only looked up
    model = LabelPropagation(**source.model)
    load_weights(model, source.weights)
    assert same(model.extractor.backbone, ours[0])


def test_released_weights_are_converted(released):
    encoder, _ = released
    assert same(get_encoder('tiny_fcmae'), encoder)
    assert same(get_encoder('mmvideomac://tiny_fcmae', out_indices=(3,)), encoder)
    state, meta = read_checkpoint('mmvideomac://tiny_fcmae')
    assert json.loads(meta['encoder']) == FCMAE and all(k.startswith('backbone.') for k in state)
    assert parse_encoder('tiny_fcmae').model == dict(backbone=FCMAE)
    assert CheckpointLoader.load_checkpoint('mmvideomac://tiny_fcmae')['state_dict'].keys() == (
        state.keys()
    )


def test_without_a_checksum_it_is_told(released, monkeypatch):
    digest = hashlib.sha256(released[1].read_bytes()).hexdigest()
    logged = []
    monkeypatch.setattr(model_index, 'print_log', lambda text, *_: logged.append(text))
    find_weights('tiny_fcmae').fetch()
    assert 'CC-BY-NC-4.0' in logged[0] and digest in logged[1]
    find_weights('tiny_fcmae').fetch()
    assert len(logged) == 2


@pytest.mark.parametrize('sha256', ['0' * 8, '0' * 64])
def test_another_file(index, released, tmp_path, sha256):
    index(dict(Name='a', Weights=released[1].as_uri(), Encoder=FCMAE, SHA256=sha256))
    with pytest.raises(ValueError, match=r'site\.pt is not the file that the model index means'):
        get_encoder('a')
    assert not list((tmp_path / 'hub' / 'checkpoints').iterdir())


def test_hash_in_the_name(index, ours, tmp_path):
    path = ours[1]
    index(dict(Name='a', Weights=path.as_uri(), Config='configs/tiny.py'))
    assert find_weights('a').sha256 == path.stem[-8:]
    path.chmod(0o644)
    path.write_bytes(b'something else')
    with pytest.raises(ValueError, match='not the file'):
        get_encoder('a')


def test_cut_off(released, tmp_path):
    path = released[1]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'site\.pt: the download was cut off'):
        get_encoder('tiny_fcmae')
    assert not list((tmp_path / 'hub' / 'checkpoints').iterdir())


def test_offline(index, tmp_path):
    url = 'http://127.0.0.1:9/weights-0123abcd.pth'  # where nothing listens
    index(dict(Name='a', Weights=url, Config='configs/tiny.py'))
    place = tmp_path / 'hub' / 'checkpoints' / 'weights-0123abcd.pth'
    with pytest.raises(ValueError, match='weights a cannot be downloaded') as error:
        get_encoder('a')
    assert f'download {url} elsewhere and save it as {place}' in str(error.value)
    # As the message says.
    state = {f'backbone.{k}': v for k, v in random_encoder(V2).state_dict().items()}
    torch.save(dict(state_dict=state), place)
    assert read_checkpoint('mmvideomac://a')[0].keys() == state.keys()


def test_unknown_names(ours):
    assert list(named_weights()) == ['ours_tiny']
    with pytest.raises(ValueError, match="unknown weights 'ours_tny'; do you mean ours_tiny"):
        get_encoder('mmvideomac://ours_tny')
    with pytest.raises(ValueError, match='no weights of nothing_yet yet; there are: ours_tiny'):
        get_encoder('nothing_yet')
    with pytest.raises(ValueError, match="unknown weights 'none'; there are: ours_tiny"):
        read_checkpoint('mmvideomac://none')
    with pytest.raises(UserError, match="unknown weights 'none'"):
        parse_encoder('mmvideomac://none')
