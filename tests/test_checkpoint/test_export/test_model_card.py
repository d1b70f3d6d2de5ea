import hashlib

import pytest
import torch
import yaml

from mmvideomac.checkpoint.export import (
    metafile_row,
    model_card,
    publish,
    put_row,
    row_text,
    scores_of,
)
from tests.test_checkpoint.test_export.encoders import V2, random_encoder

META = dict(
    epoch=3,
    iter=12,
    seed=7,
    lengths={'iterations per optimiser step': 2, 'samples per optimiser step': 64},
    data={'samples': 40, 'videos': 8, 'frames': 48, 'hash of the videos': '0123456789ab'},
)


def score(weights, value, **changes):
    row = dict(weights=weights, task='davis', setting='dino, stage 3', clips=2, error=None)
    return dict(row, metrics={'davis/J&F': value}, **changes)


@pytest.fixture
def checkpoint(tmp_path):
    state = {f'backbone.{k}': v for k, v in random_encoder(V2).state_dict().items()}
    torch.save(dict(state_dict=state, meta=META), tmp_path / 'epoch_3.pth')
    return str(tmp_path / 'epoch_3.pth')


def test_row_and_card(checkpoint, tmp_path):
    published = publish(V2, checkpoint, tmp_path / 'enc')
    scores = scores_of([score('color', 20.0), score(checkpoint, 30.04)], checkpoint)
    row = metafile_row(
        published, 'enc', V2, META, 'configs/x.py', 'clips', 'CC0', 'https://a.org/x/', scores
    )
    digest = hashlib.sha256(published.pth.read_bytes()).hexdigest()
    encoder = random_encoder(V2)
    metadata = row.pop('Metadata')
    assert metadata.pop('FLOPs') > 0
    assert metadata == {
        'Epochs': 3,
        'Batch Size': 64,
        'Parameters': sum(p.numel() for p in encoder.parameters()),
        'Training Data': 'clips',
    }
    (result,) = row.pop('Results')
    assert result['Metrics'] == {'J&F': 30.0} and result['Dataset'] == 'DAVIS'
    assert 'dino, stage 3' in result['Source']
    assert row == {
        'Name': 'enc',
        'In Collection': 'VideoMAC',
        'Weights': f'https://a.org/x/{published.pth.name}',
        'SHA256': digest,
        'License': 'CC0',
        'Config': 'configs/x.py',
    }

    card = model_card(dict(row, Metadata=metadata), published, META, 'load()', scores)
    for text in (
        '# enc\n',
        '| Data | clips, 8 videos, 48 frames, hash 0123456789ab |',
        '| Optimiser steps | 6 |',
        '| Seed | 7 |',
        '| Licence | CC0 |',
        f'| `{published.pth.name}` | `{digest}` |',
        '| these weights | davis | 2 | dino, stage 3 | J&F 30.0 |',
        '| color | davis | 2 | dino, stage 3 | J&F 20.0 |',
        '```python\nload()\n```',
    ):
        assert text in card
    assert str(tmp_path) not in card


def test_what_is_not_known_is_said(checkpoint, tmp_path):
    published = publish(V2, checkpoint, tmp_path / 'enc')
    row = metafile_row(published, 'enc', V2, {})
    assert (row['Weights'], row['Results']) == (published.pth.name, None)
    card = model_card(row, published, {}, 'load()')
    assert '| Data | not stated |' in card and '| Licence | not stated' in card
    assert 'None were measured.' in card and 'Seed' not in card and 'None |' not in card


@pytest.mark.parametrize(
    'rows, message',
    [
        ([], 'the scores are not of x.pth, but of nothing'),
        ([score('y.pth', 1.0)], r'not of x\.pth, but of y\.pth'),
        ([score('x.pth', 1.0) | dict(error='clip b is missing')], 'complete: clip b is missing'),
    ],
)
def test_scores_of_others(rows, message):
    with pytest.raises(ValueError, match=message):
        scores_of(rows, 'x.pth')


def test_rows_in_a_metafile(tmp_path):
    path = tmp_path / 'metafile.yml'
    others = (
        '# Whose.\nModels:\n  - Name: a\n    Weights: null\n\n  - Name: ab\n    Weights: null\n'
    )
    path.write_text(others)
    put_row(path, dict(Name='a', Weights='x.pth', Results=[dict(Task='t')]))
    put_row(path, dict(Name='new', Weights='ä.pth'))
    assert path.read_text().startswith('# Whose.\n')
    assert yaml.safe_load(path.read_text())['Models'] == [
        dict(Name='a', Weights='x.pth', Results=[dict(Task='t')]),
        dict(Name='ab', Weights=None),
        dict(Name='new', Weights='ä.pth'),
    ]
    assert path.read_text().endswith(row_text(dict(Name='new', Weights='ä.pth')))
    with pytest.raises(ValueError, match='is no metafile'):
        (tmp_path / 'other.yml').write_text('a: 1\n')
        put_row(tmp_path / 'other.yml', dict(Name='a'))
    with pytest.raises(FileNotFoundError, match='none'):
        put_row(tmp_path / 'none.yml', dict(Name='a'))
