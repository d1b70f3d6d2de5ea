import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from mmvideomac.evaluation import LabelPropagation
from mmvideomac.registry import MODELS
from tests.test_evaluation.clips import SIZE, SPEED, square_clip
from tests.test_models.utils import ARCH, randomize

COLOR = dict(backbone=dict(type='MeanColor'), stage=1, stride_method='native')


def build(**kwargs):
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        return LabelPropagation(**dict(COLOR, **kwargs)).eval()


def iou(prediction, truth):
    prediction, truth = prediction.numpy() > 0, truth > 0
    return (prediction & truth).sum() / (prediction | truth).sum()


@pytest.mark.parametrize('task', ['davis', 'vip'])
@pytest.mark.parametrize('protocol', ['dino', 'crw', 'vfs', 'cropmae', 'siammae', 'videomac'])
def test_a_square_is_followed(protocol, task):
    frames, masks = square_clip()
    predictions = list(build(protocol=protocol, task=task).follow_masks(frames, 5 * masks[0]))
    assert len(predictions) == len(frames)
    assert all(p.dtype == torch.uint8 and p.shape == SIZE for p in predictions)
    assert np.array_equal(predictions[0], 5 * masks[0])  # given
    assert set(torch.stack(predictions).unique().tolist()) == {0, 5}
    for prediction, mask in zip(predictions, masks, strict=True):
        assert iou(prediction, mask) > 0.75
    assert iou(predictions[-1], masks[0]) < 0.2


@pytest.mark.parametrize('protocol', ['dino', 'crw', 'vfs', 'cropmae'])
def test_points_are_followed(protocol):
    frames, _ = square_clip()
    points = np.array([[14.0, 26.0], [22.0, 34.0]])
    predictions = list(build(protocol=protocol, task='jhmdb').follow_points(frames, points))
    np.testing.assert_array_equal(predictions[0], points)
    for t, prediction in enumerate(predictions):
        assert prediction.dtype == torch.float64
        expected = points.mean(1) + np.array([SPEED * t, 0])
        np.testing.assert_allclose(prediction.mean(1), expected, atol=6)


def test_samples_of_a_runner():
    frames, masks = square_clip()
    names = [str(t) for t in range(len(frames))]
    model, seen = build(), []
    model.on_frame = lambda *progress: seen.append(progress)
    info = dict(sequence='swan', frame_names=names, first_label=masks[0], ori_shape=SIZE)
    sample = DataSample(metainfo=info)
    (result,) = model.test_step(dict(inputs=[frames], data_samples=[sample]))
    expected = torch.stack(list(model.follow_masks(frames, masks[0])))
    assert torch.equal(result.pred_masks, expected)
    assert seen[0] == ('swan', 1, 5) and seen[-1] == ('swan', 5, 5)

    points = DataSample(metainfo=dict(info, first_label=np.array([[14.0], [22.0]])))
    (result,) = build(task='jhmdb').test_step(dict(inputs=[frames], data_samples=[points]))
    assert result.pred_points.shape == (2, 1, 5)


def test_masks_of_a_protocol_that_scores_at_the_input_size():
    frames, masks = square_clip(3)
    info = dict(sequence='a', frame_names='012', first_label=masks[0], ori_shape=SIZE)
    data = dict(inputs=[frames], data_samples=[DataSample(metainfo=info)])
    (result,) = build(protocol='cropmae').test_step(data)
    assert result.pred_masks.shape == (3, 480, 880) and result.ori_shape == (480, 880)
    area = (result.pred_masks[0] > 0).sum() / (480 * 880)
    assert area == pytest.approx(masks[0].mean(), rel=0.02)


def test_frames_are_taken_one_at_a_time():
    frames, masks = square_clip()
    taken = []

    def decode():
        for t, frame in enumerate(frames):
            taken.append(t)
            yield frame

    states = build().follow_masks(decode(), masks[0])
    next(states), next(states)
    assert taken == [0, 1]


def test_each_frame_is_encoded_once():
    frames, masks = square_clip()
    model, calls = build(protocol='crw'), []
    model.extractor.register_forward_hook(lambda *_: calls.append(1))
    list(model.follow_masks(frames, masks[0]))
    assert len(calls) == len(frames)


def test_nothing_to_follow_is_background():
    frames, masks = square_clip()
    predictions = list(build(task='vip').follow_masks(frames, 0 * masks[0]))
    assert len(predictions) == len(frames) and not torch.stack(predictions).any()


def test_pixels_are_normalised():
    frame = square_clip(1)[0][0]
    model = build(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    expected = torch.tensor((frame - np.array([1, 2, 3])) / [4, 5, 6]).permute(2, 0, 1).float()
    torch.testing.assert_close(model.encode(frame), model.extractor(expected))


def test_a_frame_of_another_size():
    frames, masks = square_clip()
    frames = [*frames[:2], frames[2][:, :-8]]
    with pytest.raises(ValueError, match='one size: 96x64, then 88x64'):
        list(build().follow_masks(frames, masks[0]))


def test_settings_are_in_the_description():
    encoder = dict(type='SparseConvNeXtV2', arch=ARCH)
    model = build(backbone=encoder, stage=3, stride_method='dilation', rules=dict(topk=9))
    assert model.description == 'dino, topk 9, stage 3, stride 8 (dilation)'
    assert model.settings.rules.topk == 9 and model.settings.rules.radius == 12
    assert build().description == 'dino, stride 8'


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(task='ade20k'), "unknown task 'ade20k'"),
        (dict(protocol='dinov9'), "unknown protocol 'dinov9'"),
        (dict(network='teacher'), "unknown network 'teacher'"),
        (dict(rules=dict(top_k=3)), 'unknown rule'),
        (dict(rules=dict(topk=0)), 'topk must be'),
    ],
)
def test_unknown_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_any_checkpoint_loads_into_it():
    encoder = dict(type='SparseConvNeXtV2', arch=ARCH)
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        source = randomize(MODELS.build(encoder)).state_dict()
    state = {f'target.backbone.{key}': value for key, value in source.items()}
    state.update({f'backbone.{key}': value + 1 for key, value in source.items()})
    for network, difference in (('online', 1), ('target', 0)):
        model = build(backbone=encoder, stage=3, stride_method='unit_stride', network=network)
        model.load_state_dict(state)
        loaded = model.extractor.backbone.state_dict()
        assert all(torch.equal(loaded[key], source[key] + difference) for key in source)
        again = build(backbone=encoder, stage=3, stride_method='unit_stride')
        again.load_state_dict(model.state_dict())
        assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))
    with pytest.raises(ValueError, match='no usable encoder'):
        model.load_state_dict({'fc.weight': torch.zeros(1)})
