"""The model index says what the configs are, and whose the figures are."""

import functools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import DefaultScope
from modelindex.load_model_index import load as load_index
from torch.func import functional_call

from mmvideomac.checkpoint.model_index import find_weights, named_weights
from mmvideomac.models.complexity import count_flops
from mmvideomac.registry import MODELS

ROOT = Path(__file__).parents[1]
IMPORTS = load(ROOT / 'model-index.yml')['Import']
MODELS_OF_FILES = {
    model['Name']: model for path in IMPORTS for model in load(ROOT / path)['Models']
}
RELEASED = {name: model for name, model in MODELS_OF_FILES.items() if 'Encoder' in model}
OURS = {name: model for name, model in MODELS_OF_FILES.items() if name not in RELEASED}
PRETRAINED = {
    name: model
    for name, model in OURS.items()
    if not model['Config'].startswith('configs/benchmarks/')
}


def test_every_metafile_is_imported():
    found = {p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('metafile.yml')}
    assert found == set(IMPORTS)


def test_model_index_is_one_by_its_own_library():
    index = load_index(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    assert not index.check(silent=True), index.check_errors
    assert [model.name for model in index.models] == list(MODELS_OF_FILES)
    names = [collection.name for collection in index.collections]
    assert names == ['VideoMAC', 'FCMAE']
    assert {model.in_collection for model in index.models} == set(names)


def test_every_pretraining_config_is_there_once():
    configs = [ROOT / model['Config'] for model in OURS.values()]
    assert len(set(configs)) == len(configs)
    assert all(path.is_file() for path in configs)
    folders = (ROOT / 'configs', ROOT / 'configs' / 'ablations')
    assert {p for folder in folders for p in folder.glob('*.py')} <= set(configs)


def test_figures_are_marked_as_the_papers():
    for name, model in OURS.items():
        if model['Weights']:  # whose results are measured
            continue
        for result in model['Results'] or []:
            assert result['Source'].startswith('the paper, Table '), name


def test_ablations_agree_with_their_readme():
    readme = (ROOT / 'configs' / 'ablations' / 'README.md').read_text()
    rows = [line.strip('|').split('|') for line in readme.splitlines() if '.py)' in line]
    published = {
        Path(config.split('](')[1].rstrip(') ')).stem: (table.strip(), float(figure))
        for table, config, _, figure in (row for row in rows if len(row) == 4)
    }
    assert len(published) == 25
    for name, (table, figure) in published.items():
        result = PRETRAINED[name]['Results'][0]
        assert result['Metrics']['J&F'] == figure, name
        assert result['Source'] in (f'the paper, Table {table}', 'the paper, Table 1'), name
    for name, model in PRETRAINED.items():
        if model['Config'].startswith('configs/ablations/'):
            assert bool(model['Results']) == (name in published), name


@functools.cache
def parameters_and_flops(backbone: str) -> tuple[int, int]:
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        encoder = MODELS.build(Config.fromstring(f'model = {backbone}', '.py').model)
    encoder.eval()
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    meta = {name: tensor.to('meta') for name, tensor in tensors.items()}
    images = torch.empty(1, 3, 224, 224, device='meta')
    flops = count_flops(lambda: functional_call(encoder, meta, images))
    return sum(p.numel() for p in encoder.parameters()), flops


@pytest.mark.parametrize('name', PRETRAINED)
def test_metadata_is_that_of_the_config(name):
    cfg, metadata = Config.fromfile(ROOT / PRETRAINED[name]['Config']), PRETRAINED[name]['Metadata']
    cost = parameters_and_flops(str(cfg.model.backbone.to_dict()))
    assert (metadata['Parameters'], metadata['FLOPs']) == cost
    assert metadata['Epochs'] == cfg.train_cfg.max_epochs
    assert metadata['Batch Size'] == cfg.total_batch_size
    own = 'youtube_vos' not in cfg.train_dataloader.dataset.data_root
    assert own == (metadata['Training Data'] != 'YouTube-VOS 2018')


# The two largest take gigabytes.
@pytest.mark.parametrize('name', [n for n in RELEASED if 'large' not in n and 'huge' not in n])
def test_released_weights(name):
    model = RELEASED[name]
    cost = parameters_and_flops(str(model['Encoder']))
    assert (model['Metadata']['Parameters'], model['Metadata']['FLOPs']) == cost
    assert model['License']


@pytest.mark.parametrize('name', named_weights())
def test_weights_are_behind_addresses(name):
    weights = find_weights(name)
    assert weights.url.startswith('https://')
    if name in OURS:
        assert re.fullmatch('[0-9a-f]{64}', weights.sha256)
