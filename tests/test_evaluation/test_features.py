import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import nn

from mmvideomac.evaluation.features import FeatureExtractor, with_places
from mmvideomac.registry import MODELS
from tests.test_models.utils import ARCH, NARROW, randomize

CONVNEXTS = dict(
    v1=dict(type='SparseConvNeXt', arch=ARCH, layer_scale_init_value=0.5),
    v2=dict(type='SparseConvNeXtV2', arch=ARCH),
    official=dict(type='SparseConvNeXtV2', arch=ARCH, preset='official'),
    fcmae=dict(type='SparseConvNeXtV2', arch=ARCH, preset='fcmae'),
    mmpretrain=dict(type='mmpretrain.ConvNeXt', arch=ARCH, gap_before_final_norm=False),
)
OTHERS = dict(
    resnet18=dict(type='SparseResNet', depth=18, **NARROW),
    resnet50=dict(type='mmpretrain.ResNet', depth=50, **NARROW),
    resnet50d=dict(type='mmpretrain.ResNetV1d', depth=50, **NARROW),
    regnet=dict(type='SparseRegNet', arch='regnetx_400mf'),
)
ENCODERS = {**CONVNEXTS, **OTHERS}
VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
DENSE = ('unit_stride', 'dilation', 'enlarged_input')


def build(name, **kwargs):
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        backbone = randomize(MODELS.build(dict(ENCODERS[name], **kwargs)))
    backbone.eval()
    return backbone


def image(height=64, width=96, seed=0):
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize('name', ENCODERS)
def test_native_features_are_those_of_the_encoder(name):
    backbone = build(name)
    expected = F.normalize(backbone(image()[None])[-1], dim=1)[0].detach()
    features = FeatureExtractor(backbone, stage=-1, stride=None, method='native')(image())
    close(features, expected)
    close(features.norm(dim=0), torch.ones(2, 3))


@pytest.mark.parametrize('method', [*DENSE, 'resample'])
@pytest.mark.parametrize('name', ENCODERS)
def test_the_grid_covers_the_frame(name, method):
    for stage in (3, 4):
        extractor = FeatureExtractor(build(name), stage, 8, method)
        for height, width in ((64, 96), (61, 90)):
            features = extractor(image(height, width))
            assert features.shape[1:] == (8, 12) == extractor.grid_size(height, width)


@pytest.mark.parametrize('stage', [3, 4, (2, 3), (1, 2, 4)])
@pytest.mark.parametrize('method', [*DENSE, 'resample'])
@pytest.mark.parametrize('name', CONVNEXTS)
def test_cells_lie_where_they_should(name, method, stage):
    """With mirror-symmetric kernels the mirrored frame has the mirrored features."""
    backbone = build(name)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.data
            module.weight.data = (weight + weight.flip(2) + weight.flip(3) + weight.flip(2, 3)) / 4
    extractor = FeatureExtractor(backbone, stage, 8, method)
    mirrored = extractor(image().flip(1, 2))
    close(mirrored.flip(1, 2), extractor(image()), 1e-4)


@pytest.mark.parametrize('stage, margin', [(3, 4), (4, 12)])
def test_dilation_computes_the_original_cells_of_shifted_frames(stage, margin):
    """Every cell sees what it would see in the original encoder (no GRN, no borders)."""
    frame = image(256, 384)
    native = FeatureExtractor(build('v1'), stage, None, 'native')
    dilated = FeatureExtractor(build('v1'), stage, 8, 'dilation')
    assert dilated._margin == margin
    features, step = dilated(frame), native.stride // 8
    # A cell of the original that starts at 8 * i + 4 - stride / 2 has the centre of cell i.
    inner = slice(8, 12) if stage == 3 else slice(4, 5)
    for i in range(step):
        crop = frame[:, margin:, margin + 8 * i :]
        expected = native(crop)[:, inner, inner]
        first = (native.stride // 2 - 4 + margin) // 8
        rows = slice(first + step * inner.start, first + step * inner.stop, step)
        columns = slice(rows.start + i, rows.stop + i, step)
        if stage == 3:
            close(features[:, rows, columns], expected, 1e-5)
        else:  # the receptive field of stage 4 reaches the border
            assert F.cosine_similarity(features[:, rows, columns], expected, dim=0).min() > 0.99


@pytest.mark.parametrize('method', DENSE)
def test_a_moved_frame_has_moved_features(method):
    frame = image(128, 320)
    extractor = FeatureExtractor(build('v1'), 3, 8, method)
    moved = extractor(frame.roll(16, 2))
    close(moved[:, 6:10, 20:22], extractor(frame)[:, 6:10, 18:20], 1e-3)


@pytest.mark.parametrize('name', CONVNEXTS)
@pytest.mark.parametrize('method', DENSE)
def test_a_blob_is_found_in_its_place(name, method):
    """The change of features that a blob makes is centred on it (symmetric kernels)."""
    backbone = build(name)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = (module.weight + module.weight.flip(2, 3)).detach() / 2
    extractor = FeatureExtractor(backbone, 3, 8, method)
    blank = torch.zeros(3, 192, 192)
    blob = blank.clone()
    blob[:, 80:112, 64:96] = 1.0  # centre (96, 80): (12, 10) cells

    def centre():
        change = (extractor(blob) - extractor(blank)).norm(dim=0)
        change = change * (change > 0.5 * change.max())
        places = torch.stack(torch.meshgrid(*map(torch.arange, change.shape), indexing='ij')) + 0.5
        return (change * places).sum((1, 2)) / change.sum()

    close(centre(), torch.tensor([12.0, 10.0]), 0.05)
    if method != 'enlarged_input':  # what the margin is for
        extractor._margin = 0
        extractor.encoder.shifts[2] = 0.0
        close(centre(), torch.tensor([11.5, 9.5]), 0.05)


def test_several_stages_are_normalised_each():
    backbone = build('v2')
    both = FeatureExtractor(backbone, (2, 3), 8, 'resample')(image())
    second = FeatureExtractor(backbone, 2, 8, 'native')(image())
    close(both[:12], second / 2**0.5)
    close(both.norm(dim=0), torch.ones(8, 12))


def test_later_stages_are_not_run():
    backbone = build('v2')
    extractor = FeatureExtractor(backbone, 3, None, 'native')
    backbone.stages[3].register_forward_pre_hook(lambda *_: pytest.fail('stage 4 ran'))
    assert extractor(image()).shape == (16, 4, 6)


def test_weights_may_come_later():
    extractor = FeatureExtractor(build('v2'), 3, 8, 'unit_stride')
    before = extractor(image())
    state = {key: value + 0.3 for key, value in extractor.backbone.state_dict().items()}
    extractor.backbone.load_state_dict(state)
    fresh = build('v2')
    fresh.load_state_dict(state)
    close(extractor(image()), FeatureExtractor(fresh, 3, 8, 'unit_stride')(image()))
    assert (extractor(image()) - before).abs().max() > 0.01


def test_transformers_give_their_map():
    vit = dict(type='mmpretrain.VisionTransformer', arch=VIT, img_size=64)
    backbone = randomize(MODELS.build(vit))
    assert FeatureExtractor(backbone, -1, 8, 'enlarged_input')(image()).shape == (16, 8, 12)
    for stage in (1, 2):
        features = FeatureExtractor(backbone, stage, None, 'native')(image())
        expected = MODELS.build(dict(vit, out_type='featmap', out_indices=[stage - 1]))
        expected.load_state_dict(backbone.state_dict())
        expected.eval()
        close(features, F.normalize(expected(image()[None])[0], dim=1)[0].detach())
    assert backbone.out_type == 'cls_token' and list(backbone.out_indices) == [1]
    with pytest.raises(ValueError, match='cannot be changed'):
        FeatureExtractor(backbone, -1, 8, 'unit_stride')


def test_transformers_that_give_no_map():
    beit = dict(type='mmpretrain.BEiTViT', arch=VIT, img_size=128, final_norm=True)
    with pytest.raises(ValueError, match="out_type='featmap'"):
        FeatureExtractor(MODELS.build(dict(beit, out_type='cls_token')), -1, None, 'native')
    backbone = MODELS.build(dict(beit, out_type='featmap'))
    with pytest.raises(ValueError, match=r'out_indices=\(0,\)'):
        FeatureExtractor(backbone, 1, 16, 'native')
    extractor = FeatureExtractor(backbone, -1, None, 'native')
    with pytest.raises(ValueError, match='BEiTViT cannot encode 96x64 pixels'):
        extractor(image())


def test_masked_autoencoders_encode_whole_frames():
    vit = dict(arch=VIT, img_size=64)
    mae = randomize(MODELS.build(dict(vit, type='mmpretrain.MAEViT', mask_ratio=0.75)))
    plain = MODELS.build(dict(vit, type='mmpretrain.VisionTransformer', out_type='featmap'))
    plain.load_state_dict(mae.state_dict())
    plain.eval()
    expected = F.normalize(plain(image()[None])[0], dim=1)[0].detach()
    close(FeatureExtractor(mae, -1, None, 'native')(image()), expected)


def test_mean_color():
    frame = image()
    features = FeatureExtractor(MODELS.build(dict(type='MeanColor')), 1, 8, 'native')(frame)
    close(features, F.normalize(F.avg_pool2d(frame[None], 8), dim=1)[0])


@pytest.mark.parametrize(
    'settings, message',
    [
        ((3, 8, 'native'), "stage 3 has stride 16, and stride_method='native'"),
        ((2, 16, 'unit_stride'), 'stage 2 has stride 8'),
        ((3, 6, 'enlarged_input'), 'does not make that 6'),
        ((5, 8, 'native'), 'has the stages 1 to 4'),
        ((0, 8, 'native'), 'stage 0'),
        ((3, 2, 'unit_stride'), 'finer than the stem'),
        ((3, 8, 'magic'), "unknown stride method 'magic'"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(build('v2'), *settings)


def test_places_part_cells_that_look_alike():
    same = with_places(torch.ones(4, 30, 40) / 2)
    assert same.shape == (8, 30, 40)
    torch.testing.assert_close(same.norm(dim=0), torch.ones(30, 40))
    similarity = torch.einsum('chw,c->hw', same, same[:, 12, 20])
    assert similarity.flatten().topk(5).indices.sort().values.tolist() == [
        12 * 40 + 20 + offset for offset in (-40, -1, 0, 1, 40)
    ]
    assert similarity.min() > 1 - 1e-3
    features = F.normalize(torch.randn(6, 5, 7), dim=0).flatten(1)
    change = with_places(features.view(6, 5, 7)).flatten(1)
    assert (change.t() @ change - features.t() @ features).abs().max() < 0.03
