import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from mmvideomac.evaluation import LabelPropagation
from mmvideomac.registry import MODELS
from tests.test_evaluation.clips import SIZE, SPEED, square_clip, still_clip
from tests.test_models.utils import ARCH, randomize

COLOR = dict(backbone=dict(type='MeanColor'), stage=1, stride_method='native')


def build(**kwargs):
    with DefaultScope.overwrite_default_scope('mmvideomac'):
        return LabelPropagation(**dict(COLOR, **kwargs)).eval()


def color(stride):
    return dict(type='MeanColor', stride=stride)


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
def test_joints_are_followed(protocol):
    frames, _ = square_clip()
    points = np.array([[14.0, 26.0], [22.0, 34.0]])
    predictions = list(build(protocol=protocol, task='jhmdb').follow_joints(frames, points))
    np.testing.assert_array_equal(predictions[0], points)
    for t, prediction in enumerate(predictions):
        assert prediction.dtype == torch.float64
        expected = points.mean(1) + np.array([SPEED * t, 0])
        np.testing.assert_allclose(prediction.mean(1), expected, atol=6)


def test_points_are_followed_between_the_cells():
    frames, _ = square_clip()
    points = np.array([[14.3, 26.0, np.nan], [22.0, 30.6, 4]])
    model = build(protocol='crw', task='points', input_size=64)
    predictions = torch.stack(list(model.follow_points(frames, points)), -1)
    assert predictions.dtype == torch.float64 and predictions.shape == (2, 3, len(frames))
    np.testing.assert_array_equal(predictions[..., 0], points)
    # The square moves by one cell per frame.
    expected = points[:, :2, None] + np.array([[[SPEED]], [[0]]]) * np.arange(len(frames))
    np.testing.assert_allclose(predictions[:, :2], expected, atol=1)
    assert (predictions[:, 2, 1:] == -1).all()


@pytest.mark.parametrize('protocol', ['dino', 'crw', 'vfs', 'cropmae', 'siammae', 'videomac'])
@pytest.mark.parametrize('textured', [True, False])
def test_points_of_a_still_clip_stay(protocol, textured):
    frames = still_clip((96, 150))
    points = np.array([[0, 149, 40.7, 3, 80], [0, 95, 50.2, 90, 94.0]])
    model = build(protocol=protocol, task='points', input_size=96)
    for prediction in model.follow_points(frames if textured else 0 * frames + 99, points):
        # All context is the frame itself: only rounding in single precision moves a point.
        np.testing.assert_allclose(prediction, points, atol=1e-3)


def test_points_outside_the_frame():
    with pytest.raises(ValueError, match='no point is within the frame'):
        list(build(task='points').follow_points(square_clip()[0], np.array([[900.0], [3.0]])))


@pytest.mark.parametrize('protocol', ['dino', 'crw'])
def test_objects_smaller_than_a_cell(protocol):
    frames, _ = square_clip(2)
    label = np.zeros(SIZE, np.uint8)
    label[8:32, 8:32], label[48, 48], label[49:51, 81:83] = 1, 2, 7
    model = build(protocol=protocol, input_size=64)
    assert model.too_small(label, SIZE) == ([2, 7], 1)
    label[48, 48] = 0
    ids, stride = model.too_small(label, SIZE)
    assert ids == [7] and stride in (2, 4)
    assert 7 not in list(model.follow_masks(frames, label))[1]
    finer = build(protocol=protocol, input_size=64, stride=stride, backbone=color(stride))
    assert finer.too_small(label, SIZE) == ([], None)
    assert 7 in list(finer.follow_masks(frames, label))[1]
    assert model.too_small(0 * label, SIZE) == ([], None)


def test_objects_that_no_stride_holds():
    label = np.zeros((640, 960), np.uint8)
    label[301, 301] = 4
    assert build(input_size=64).too_small(label, label.shape) == ([4], None)


def test_frames_enter_at_the_chosen_size():
    frames, masks = square_clip(2)
    model, sizes = build(protocol='cropmae', input_size=48), []
    model.extractor.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape))
    list(model.follow_masks(frames, masks[0]))
    assert sizes == [(3, 48, 72)] * 2
    assert model.description == 'cropmae, input size 48, stride 8'


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
    for task in ('jhmdb', 'points'):
        (result,) = build(task=task).test_step(dict(inputs=[frames], data_samples=[points]))
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
        (dict(input_size=0), 'input_size must be a number of pixels, not 0'),
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
