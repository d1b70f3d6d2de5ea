"""SiamMAE's encoder among others, by label propagation."""

import numpy as np
import pytest
import torch

from mmvideomac.evaluation.benchmark import load_weights
from mmvideomac.evaluation.compare import Comparison
from mmvideomac.evaluation.encoder_sources import parse_encoder
from mmvideomac.evaluation.label_propagation import LabelPropagation
from tests.test_datasets.helpers import real_data
from tests.test_models.utils import randomize

CONFIG = """
custom_imports = dict(imports=['mmvideomac', 'projects.siammae'])
model = dict(
    type='SiamMAE',
    data_preprocessor=dict(type='FramePairDataPreprocessor', mean={mean}, std={std}),
    backbone=dict(type='SiamMAEViT', arch='deit-tiny'),
    head=dict(type='CrossSelfDecoder', in_channels=192),
)
"""


@pytest.fixture(scope='module')
def encoders(tmp_path_factory):
    """The same weights, as DINO publishes a ViT, in timm's ViT and in ours."""
    timm = pytest.importorskip('timm')
    folder = tmp_path_factory.mktemp('dino')
    torch.manual_seed(0)
    model = timm.create_model('vit_tiny_patch16_224', num_classes=0)
    model.init_weights()
    randomize(model)
    state_dict = {f'module.backbone.{name}': value for name, value in model.state_dict().items()}
    state_dict['module.head.mlp.0.weight'] = torch.zeros(3, 3)
    torch.save(dict(teacher=state_dict, epoch=100), folder / 'dino.pth')
    theirs = parse_encoder(f'timm:vit_tiny_patch16_224:{folder / "dino.pth"}@name=timm')
    pixels = {key: theirs.model[key] for key in ('mean', 'std')}
    (folder / 'siammae.py').write_text(CONFIG.format(**pixels))
    ours = parse_encoder(f'{folder / "siammae.py"}:{folder / "dino.pth"}@name=ours')
    return theirs, ours


def test_features_of_a_published_vit_are_those_of_timm(encoders):
    frame = np.random.default_rng(0).integers(256, size=(160, 272, 3), dtype=np.uint8)
    features = []
    for source in encoders:
        model = LabelPropagation(task='davis', protocol='dino', **source.model)
        load_weights(model.eval(), source.weights)
        features.append(model.encode(frame))
        assert model.extractor.stride == 16
    assert features[0].shape == (192, 10, 17)
    assert (features[0] - features[1]).abs().max() < 1e-5 * features[0].abs().max()


def test_scores_of_a_published_vit_are_those_of_timm(encoders, tmp_path):
    data = dict(data_root=str(real_data('davis')), sequences=['blackswan', 'dog'], max_frames=3)
    comparison = Comparison(encoders, dict(davis=data), 'dino', None, tmp_path)
    comparison.run()
    theirs, ours = comparison.rows()
    assert not theirs['error'] and 'dino' in theirs['setting']
    assert theirs['setting'] == ours['setting']
    # A cell whose neighbours are equally like it within rounding may go either way.
    for name, value in theirs['metrics'].items():
        assert ours['metrics'][name] == pytest.approx(value, abs=0.05), name
    assert 5 < theirs['metrics']['davis/J&F'] < 100
