import zipfile
from argparse import Namespace
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader, checkpoint

from mmvideomac.checkpoint import sharded
from mmvideomac.checkpoint.files import (
    find_latest_checkpoint,
    is_complete,
    read_checkpoint,
    read_meta,
    read_state_dict,
    sha256,
)

WEIGHTS = {'backbone.a': torch.arange(3.0), 'head.b': torch.ones(2, 2)}


def save(path, iteration, **extra):
    checkpoint = dict(meta=dict(iter=iteration), state_dict={'w': torch.ones(9)}, optimizer={})
    torch.save({**checkpoint, **extra}, path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_is_complete(tmp_path):
    path = save(tmp_path / 'a.pth', 1)
    assert is_complete(path)
    truncate(path)
    assert not is_complete(path)
    path.write_bytes(b'')
    assert not is_complete(path)
    assert not is_complete(tmp_path / 'none.pth')
    torch.save(dict(w=torch.ones(2)), path, _use_new_zipfile_serialization=False)
    assert is_complete(path)


def test_latest_is_what_the_pointer_names(tmp_path):
    save(tmp_path / 'epoch_1.pth', 10)
    save(tmp_path / 'epoch_2.pth', 20)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_latest_in_a_moved_folder(tmp_path):
    save(tmp_path / 'epoch_1.pth', 10)
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_1.pth')
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_1.pth')


def test_latest_when_the_named_one_is_broken(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr('mmvideomac.checkpoint.files.print_log', lambda m, **_: warnings.append(m))
    for epoch in (2, 9, 10):  # names do not sort like iterations
        save(tmp_path / f'epoch_{epoch}.pth', 10 * epoch)
    save(tmp_path / 'mid_epoch.pth', 95)
    truncate(tmp_path / 'epoch_10.pth')
    torch.save(dict(w=torch.ones(2)), tmp_path / 'weights_only.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'mid_epoch.pth')
    assert any('missing or incomplete' in warning for warning in warnings)
    assert any('epoch_10.pth is incomplete' in warning for warning in warnings)


def test_latest_is_that_of_most_optimiser_steps(tmp_path):
    """Iterations are others where a run goes on with other accumulation; folders count too."""
    for name, iteration, per_step in [('a.pth', 30, 3), ('b.pth', 24, 2), ('c.pth', 11, 1)]:
        lengths = {'iterations per optimiser step': per_step}
        save(tmp_path / name, 0, meta=dict(iter=iteration, lengths=lengths))
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'b.pth')
    sharded.save(dict(meta=dict(iter=13), optimizer={}), tmp_path / 'd.dcp').result()
    (tmp_path / 'e.dcp').mkdir()
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'd.dcp')


def test_no_checkpoint(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None
    assert find_latest_checkpoint(tmp_path / 'none') is None
    torch.save(dict(w=torch.ones(2)), tmp_path / 'weights_only.pth')
    assert find_latest_checkpoint(tmp_path) is None


def equal(ours, expected):
    return list(ours) == list(expected) and all(torch.equal(ours[k], expected[k]) for k in ours)


@pytest.mark.parametrize('key', ['state_dict', 'model'])
def test_of_mmengine_and_others(tmp_path, key):
    path = tmp_path / 'a.pth'
    torch.save({key: WEIGHTS, 'meta': dict(iter=np.float64(3.0)), 'optimizer': {}}, path)
    state, meta = read_checkpoint(path)
    assert equal(state, WEIGHTS) and meta == dict(iter=3.0)


def test_plain(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({f'module.{key}': value for key, value in WEIGHTS.items()}, path)
    assert equal(read_state_dict(str(path)), WEIGHTS)
    assert read_checkpoint(path)[1] == {}


def test_safetensors(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    path = tmp_path / 'a.safetensors'
    save_file(WEIGHTS, path, dict(epoch='3'))
    state, meta = read_checkpoint(path)
    assert equal(state, WEIGHTS) and meta == dict(epoch='3')


def test_url(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    assert equal(read_state_dict((tmp_path / 'a.pth').as_uri()), WEIGHTS)
    torch.save(dict(WEIGHTS, evil=Evil()), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='holds more than weights'):
        read_state_dict((tmp_path / 'evil.pth').as_uri())
    with pytest.raises(ValueError, match='download it'):
        sha256('https://example.org/a.pth')


def test_a_url_that_cannot_be_reached(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', fail)
    message = r'a\.pth cannot be downloaded \(no route to host\): give a file instead'
    with pytest.raises(ValueError, match=message):
        read_state_dict('https://example.org/a.pth')


def test_released_checkpoints_of_dino(tmp_path):
    """Both networks, and the settings of the run as they were parsed."""
    student = {f'module.{key}': value + 1 for key, value in WEIGHTS.items()}
    content = dict(student=student, teacher=WEIGHTS, epoch=3, args=Namespace(lr=0.1))
    torch.save(content, tmp_path / 'a.pth')
    assert equal(read_state_dict(tmp_path / 'a.pth'), WEIGHTS)
    del content['teacher']
    torch.save(content, tmp_path / 'a.pth')
    assert equal(read_state_dict(tmp_path / 'a.pth'), {k: v + 1 for k, v in WEIGHTS.items()})


def test_meta_alone(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    save_file(WEIGHTS, tmp_path / 'a.safetensors', dict(epoch='3'))
    assert read_meta(tmp_path / 'a.safetensors') == dict(epoch='3')
    for zipped in (True, False):
        content = dict(state_dict=WEIGHTS, meta=dict(epoch=3))
        torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
        assert read_meta(tmp_path / 'a.pth') == dict(epoch=3)
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    assert read_meta(tmp_path / 'a.pth') == {}
    with pytest.raises(FileNotFoundError, match=r'b\.pth does not exist'):
        read_meta(tmp_path / 'b.pth')


class Evil:
    def __reduce__(self):
        return (print, ('run',))


def test_files_that_are_no_checkpoints(tmp_path, capsys):
    torch.save(dict(WEIGHTS, more=torch.zeros(1000)), tmp_path / 'half.pth')
    half = (tmp_path / 'half.pth').read_bytes()[:500]
    (tmp_path / 'half.pth').write_bytes(half)
    (tmp_path / 'text.pth').write_text('not a checkpoint')
    (tmp_path / 'text.safetensors').write_text('hello')
    torch.save([1, 2], tmp_path / 'list.pth')
    torch.save(dict(state_dict=WEIGHTS, meta=dict(hook=Evil())), tmp_path / 'unsafe.pth')
    for name, message in (
        ('none.pth', r'none\.pth does not exist'),
        ('none.safetensors', r'none\.safetensors does not exist'),
        ('half.pth', r'half\.pth is incomplete'),
        ('text.pth', r'text\.pth cannot be read as a checkpoint \(torch\.save did not'),
        ('text.safetensors', r'text\.safetensors cannot be read as safetensors'),
        ('list.pth', 'holds no tensors by name'),
        ('unsafe.pth', r'more than weights: a pickled [\w.]*print, which was not loaded'),
    ):
        with pytest.raises((OSError, ValueError), match=message):
            read_checkpoint(tmp_path / name)
    assert capsys.readouterr().out == ''


def test_a_zip_bomb(tmp_path):
    """What is unpacked would be a thousand times the file."""
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    with (
        zipfile.ZipFile(tmp_path / 'a.pth') as file,
        zipfile.ZipFile(tmp_path / 'b.pth', 'w', zipfile.ZIP_DEFLATED) as bomb,
    ):
        for record in file.namelist():
            bomb.writestr(record, file.read(record))
        bomb.writestr('archive/data/9', bytes(2**20))
    with pytest.raises(ValueError, match=r'b\.pth .*records are compressed'):
        read_checkpoint(tmp_path / 'b.pth')


def test_a_header_of_safetensors_that_declares_too_much(tmp_path):
    pytest.importorskip('safetensors')
    path = tmp_path / 'a.safetensors'
    path.write_bytes((2**40).to_bytes(8, 'little') + b'{}')
    with pytest.raises(ValueError, match='bytes of header'):
        read_checkpoint(path)


def test_what_mmengine_loads_runs_nothing(tmp_path, monkeypatch, capsys):
    """`resume`, `load_from` and `init_cfg`, of a file and of a URL."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    path = tmp_path / 'a.pth'
    torch.save(dict(WEIGHTS, evil=Evil()), path)
    with pytest.raises(ValueError, match='holds more than weights'):
        CheckpointLoader.load_checkpoint(str(path))
    monkeypatch.delenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD')
    with pytest.raises(UnpicklingError, match='Weights only load failed'):
        checkpoint.load_url(path.as_uri())
    assert 'run' not in capsys.readouterr().out.split()
    torch.save(dict(state_dict=WEIGHTS), path)
    loaded = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    assert equal(loaded['state_dict'], WEIGHTS)
