import os
import pickle
import shutil

import pytest
import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo

from mmvideomac.checkpoint import sharded
from mmvideomac.checkpoint.files import is_complete, read_checkpoint


@pytest.fixture
def folder(tmp_path):
    checkpoint = dict(
        state_dict={'a.weight': torch.arange(6.0).view(2, 3), 'b': torch.tensor(7)},
        optimizer=dict(state={0: dict(step=torch.tensor(2.0), buffer=None)}, param_groups=[{}]),
        meta=dict(iter=3, cfg='a = 1'),
    )
    sharded.save(checkpoint, tmp_path / 'a.dcp').result()
    return tmp_path / 'a.dcp'


def test_round_trip(folder):
    assert is_complete(folder)
    content = sharded.read(folder)
    assert torch.equal(content['state_dict']['a.weight'], torch.arange(6.0).view(2, 3))
    assert content['state_dict']['b'] == 7
    assert content['optimizer'] == dict(
        state={0: dict(step=torch.tensor(2.0), buffer=None)}, param_groups=[{}]
    )
    assert content['meta'] == dict(iter=3, cfg='a = 1')


def test_parts(folder):
    content = sharded.read(folder, only=['optimizer'])
    assert content['optimizer']['state'][0]['step'] == 2
    assert content['state_dict']['a.weight'].is_meta
    assert content['state_dict']['a.weight'].shape == (2, 3)
    state, meta = read_checkpoint(folder)
    assert list(state) == ['a.weight', 'b'] and meta['iter'] == 3


def test_incomplete(folder):
    (data,) = folder.glob('*.distcp')
    os.truncate(data, data.stat().st_size - 1)
    assert not is_complete(folder)
    with pytest.raises(ValueError, match=r'a\.dcp is incomplete'):
        read_checkpoint(folder)
    data.unlink()
    assert not is_complete(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    assert not is_complete(folder)


class Harm:
    def __reduce__(self):
        return os.system, ('touch harmed',)


def _rewrite(folder, change):
    path = folder / '.metadata'
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))


def test_an_index_that_runs_code(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _rewrite(folder, lambda metadata: setattr(metadata, 'planner_data', Harm()))
    with pytest.raises(ValueError, match=r'holds a pickled \w+\.system, which was not loaded'):
        sharded.read(folder)
    assert not is_complete(folder)
    assert not (tmp_path / 'harmed').exists()


def test_a_rest_that_runs_code(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sharded, '_without_tensors', lambda tree: dict(meta=Harm()))
    path = tmp_path / 'b.dcp'
    sharded.save({}, path).result()
    with pytest.raises(ValueError, match=r'holds more than weights: a pickled \w+\.system'):
        read_checkpoint(path)
    assert not (tmp_path / 'harmed').exists()


def test_an_index_that_names_other_files(folder):
    def leave(metadata):
        for index in metadata.storage_data:
            metadata.storage_data[index] = _StorageInfo('../a.dcp/__0_0.distcp', 0, 1000)

    _rewrite(folder, leave)
    with pytest.raises(ValueError, match='names files outside its folder'):
        sharded.read(folder)


def test_an_index_that_asks_for_all_memory(folder):
    def grow(metadata):
        metadata.state_dict_metadata['state_dict.b'].size = torch.Size([2**60])

    _rewrite(folder, grow)
    with pytest.raises(ValueError, match='names larger tensors than are there'):
        sharded.read(folder)
