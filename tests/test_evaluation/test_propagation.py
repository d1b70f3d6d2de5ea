"""Windows against a plain dense affinity that is written for this test."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmvideomac.evaluation import (
    PROTOCOLS,
    LabelPropagator,
    PropagationRules,
    get_protocol,
    propagate,
)
from tests.golden.propagation import check

ROOT = os.environ.get('MMVIDEOMAC_TEST_DATA')
#: Of cosines: unit vectors of up to 6 numbers, and their products, take a dozen roundings of
#: 2^-24 or 2^-53 each at the very most.
EPSILON = {torch.float32: 1e-6, torch.float64: 1e-12}


def context(rules: PropagationRules, frame: int) -> list[int]:
    """The latest frames as public code lists them, frame 0 as often as it is there."""
    latest = range(frame - rules.context, frame)
    if rules.first_frame_again == 'padding':
        return [max(0, i) for i in latest]
    first = 0 if rules.first_frame_again == 'recent' else 1
    return [i for i in latest if i >= first]


def bounds(rules: PropagationRules, features: list[Tensor], states: list[Tensor]):
    """Least and greatest labels (K, h, w) of the last frame.

    They are equal unless sites tie for the k-th place up to rounding. Then rules, or the
    rounding, leave open which of them count.
    """
    frame = len(features) - 1
    frames = [0, *context(rules, frame)]
    h, w = features[0].shape[1:]
    unit = [torch.nn.functional.normalize(f.double(), dim=0).flatten(1) for f in features]
    keys = torch.cat([unit[i] for i in frames], 1)
    labels = torch.cat([states[i].double().flatten(1) for i in frames], 1)
    y, x = (
        axis.flatten() for axis in torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    )
    dy, dx = y[:, None] - y, x[:, None] - x
    if rules.neighborhood == 'square':
        near = torch.maximum(dy.abs(), dx.abs()) <= rules.radius
    else:
        near = (dy**2 + dx**2).sqrt() < rules.radius
    allowed = near.repeat(1, len(frames))
    if rules.first_frame_everywhere:
        allowed[:, : h * w] = True
    epsilon = EPSILON[features[0].dtype]
    low, high = [], []
    for query, mine in zip(unit[-1].t(), allowed, strict=True):
        scores, votes = query @ keys[:, mine], labels[:, mine]
        k = min(rules.topk, len(scores))
        kth = scores.sort(descending=True).values[k - 1]
        weights = torch.exp((scores - scores.max()) / rules.temperature)
        better, tied = scores > kth + epsilon, (scores - kth).abs() <= epsilon
        least = most = k - int(better.sum())
        if rules.keep_ties:
            most = int(tied.sum())
            if (scores[tied] - kth).abs().max() <= EPSILON[torch.float64]:  # a true tie
                least = most
        weight = torch.exp((kth - scores.max()) / rules.temperature)
        certain, total = votes[:, better] @ weights[better], weights[better].sum()
        tied = votes[:, tied].sort(1).values
        ways = range(least, most + 1)
        low.append(_extreme([tied[:, :n] for n in ways], weight, certain, total, torch.amin))
        high.append(_extreme([tied[:, -n:] for n in ways], weight, certain, total, torch.amax))
    return (torch.stack(value, 1).unflatten(1, (h, w)) for value in (low, high))


def _extreme(ways, weight, certain, total, extreme):
    means = [(certain + weight * votes.sum(1)) / (total + weight * votes.size(1)) for votes in ways]
    return extreme(torch.stack(means), 0)


def check_clip(
    rules: PropagationRules, features: list[Tensor], label: Tensor, device: str = 'cpu'
) -> list[Tensor]:
    """Compare each frame with the plain implementation, given our states of those before."""
    states = []
    clip = (frame.to(device) for frame in features)
    for number, state in enumerate(propagate(clip, label.to(device), rules)):
        state = state.cpu()
        if number == 0:
            assert torch.equal(state, label.to(state))
        else:
            low, high = bounds(rules, features[: number + 1], states)
            assert state.shape == low.shape and state.dtype == features[0].dtype
            # An error of a similarity is one of its weight, exp(similarity / temperature), over
            # the temperature, and of the weight of the best. Labels are between 0 and 1.
            error = (1 + 2 / rules.temperature) * EPSILON[features[0].dtype]
            assert (state >= low - error).all() and (state <= high + error).all()
        states.append(state)
    assert len(states) == len(features)
    return states


def random_clip(frames, channels, h, w, dtype=torch.float32, tied=False, seed=0):
    """Features; tied: of few kinds, whose similarities any arithmetic has exactly."""
    generator = torch.Generator().manual_seed(seed)
    if tied:
        kinds = torch.tensor([[1, 1, 1, 1], [1, 1, -1, 1], [1, 0, 0, 0], [0, 0, 0, 2]])
        chosen = torch.randint(len(kinds), (frames, h, w), generator=generator)
        clip = (kinds[chosen] / kinds[chosen].double().norm(dim=-1, keepdim=True)).to(dtype)
        return list(clip.permute(0, 3, 1, 2))
    return list(torch.randn(frames, channels, h, w, generator=generator, dtype=dtype))


def random_label(objects, h, w, seed=0):
    label = torch.rand(objects, h, w, generator=torch.Generator().manual_seed(seed))
    return label / label.sum(0)


rules_of_all_kinds = st.builds(
    PropagationRules,
    temperature=st.sampled_from([0.05, 0.1, 0.7]),
    topk=st.integers(1, 12),
    context=st.integers(1, 5),
    radius=st.integers(1, 9),
    neighborhood=st.sampled_from(['square', 'circle']),
    first_frame_everywhere=st.booleans(),
    first_frame_again=st.sampled_from(['never', 'recent', 'padding']),
    keep_ties=st.booleans(),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    rules=rules_of_all_kinds,
    frames=st.integers(2, 7),
    h=st.integers(1, 11),
    w=st.integers(1, 13),
    objects=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    tied=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_windows_equal_dense_affinity(rules, frames, h, w, objects, dtype, tied, seed):
    clip = random_clip(frames, 5, h, w, dtype, tied, seed)
    check_clip(rules, clip, random_label(objects, h, w, seed))


@pytest.mark.parametrize('name', list(PROTOCOLS))
@pytest.mark.parametrize('task', ['davis', 'vip', 'jhmdb'])
def test_rules_of_protocols(name, task, device):
    """Clips longer and shorter than the context, on maps of several tiles."""
    rules = getattr(get_protocol(name), task).rules
    check_clip(rules, random_clip(4, 6, 17, 18), random_label(3, 17, 18), device)
    short = replace(rules, context=3, radius=5)
    check_clip(short, random_clip(6, 6, 10, 19), random_label(2, 10, 19), device)


@pytest.mark.parametrize('again', ['never', 'recent', 'padding'])
@pytest.mark.parametrize('keep_ties', [True, False])
def test_clip_that_stands_still(again, keep_ties):
    rules = PropagationRules(
        0.1, topk=5, context=7, radius=3, first_frame_again=again, keep_ties=keep_ties
    )
    frame = random_clip(1, 4, 9, 20, tied=True)[0]
    check_clip(rules, [frame] * 6, random_label(2, 9, 20))


def test_ties_are_kept_beyond_the_kth():
    rules = PropagationRules(0.1, topk=1, context=1, radius=1, neighborhood='square')
    clip = [torch.ones(4, 1, 3)] * 2  # of norm 2: any arithmetic has exactly 1
    label = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0]]])
    kept = list(propagate(clip, label, replace(rules, keep_ties=True)))[1]
    expected = torch.tensor([[[1 / 2, 1 / 3, 0]], [[1 / 2, 2 / 3, 1]]])
    torch.testing.assert_close(kept, expected)
    one = list(propagate(clip, label, rules))[1]
    assert set(one.flatten().tolist()) == {0.0, 1.0}


def test_copies_of_the_first_frame_take_places():
    """One cell: frame 0 similar by 1, frame 1 by 0; two places of the copies of frame 0."""
    clip = [torch.tensor(v).view(2, 1, 1) for v in ([1.0, 0.0], [0.0, 1.0], [1.0, 0.0])]
    label = torch.tensor([1.0, 0.0]).view(2, 1, 1)

    def weight_of_frame_1(again, everywhere, topk):
        rules = PropagationRules(
            1.0, topk, 2, 1, first_frame_everywhere=everywhere, first_frame_again=again
        )
        propagator = LabelPropagator(rules)
        propagator.reset(clip[0], label)
        propagator.step(clip[1])
        # As if frame 1 were of the other class.
        propagator._labels[propagator._sites[1].flatten()] = torch.tensor([0.0, 1.0])
        return propagator.step(clip[2])[1].item()

    e = torch.e
    for everywhere in (False, True):
        assert weight_of_frame_1('never', everywhere, 2) == pytest.approx(1 / (1 + e))
        assert weight_of_frame_1('recent', everywhere, 2) == 0
        assert weight_of_frame_1('recent', everywhere, 3) == pytest.approx(1 / (1 + 2 * e))
        assert weight_of_frame_1('padding', everywhere, 3) == pytest.approx(1 / (1 + 2 * e))


def test_length_of_features_does_not_matter():
    rules = get_protocol('dino').davis.rules
    clip, label = random_clip(3, 6, 9, 10, torch.float64), random_label(2, 9, 10).double()
    states = list(propagate(clip, label, rules))
    scaled = list(propagate([f * (2 + i) for i, f in enumerate(clip)], label, rules))
    torch.testing.assert_close(scaled, states)


def test_half_precision_and_autocast():
    rules = get_protocol('crw').davis.rules
    clip, label = random_clip(3, 6, 9, 10), random_label(2, 9, 10)
    clip = [frame.half() for frame in clip]
    expected = list(propagate([frame.float() for frame in clip], label, rules))
    states = list(propagate(clip, label.half(), rules))
    assert states[1].dtype == torch.float32
    with torch.autocast('cpu'):
        under_autocast = list(propagate(clip, label, rules))
    torch.testing.assert_close(under_autocast, expected, atol=0, rtol=0)
    torch.testing.assert_close(states[1:], expected[1:], atol=1e-3, rtol=0)


def test_features_are_taken_when_needed():
    taken = []

    def frames():
        for number, frame in enumerate(random_clip(4, 3, 4, 5)):
            taken.append(number)
            yield frame

    states = propagate(frames(), random_label(2, 4, 5), get_protocol('dino').davis.rules)
    assert taken == []
    next(states), next(states)
    assert taken == [0, 1]


def test_a_propagator_can_begin_another_clip():
    propagator = LabelPropagator(get_protocol('dino').davis.rules)
    for h, w, objects in ((9, 10, 2), (5, 12, 3)):
        clip, label = random_clip(3, 6, h, w), random_label(objects, h, w)
        propagator.reset(clip[0], label)
        states = [propagator.step(frame) for frame in clip[1:]]
        assert torch.equal(
            torch.stack(states),
            torch.stack(list(propagate(clip, label, propagator.rules))[1:]),
        )


def test_nothing_grows_with_the_clip():
    rules = replace(get_protocol('dino').davis.rules, context=2)
    propagator = LabelPropagator(rules)

    def size():
        tensors = (value for value in vars(propagator).values() if isinstance(value, Tensor))
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    clip = random_clip(8, 6, 9, 10)
    propagator.reset(clip[0], random_label(2, 9, 10))
    before = size(), set(vars(propagator))
    for frame in clip[1:]:
        propagator.step(frame)
    assert (size(), set(vars(propagator))) == before
    assert before[0] >= 3 * 9 * 10 * 6 * 4


def test_no_graph_is_kept():
    clip = [frame.requires_grad_() for frame in random_clip(3, 6, 4, 5)]
    states = list(propagate(clip, random_label(2, 4, 5), get_protocol('crw').davis.rules))
    assert not any(state.requires_grad for state in states)


@pytest.mark.parametrize(
    ('clip', 'label', 'message'),
    [
        ([(6, 9, 10)], (2, 9, 11), r'first label of shape \(2, 9, 11\) for features of 9x10'),
        ([(6, 9, 10)], (9, 10), r'first label of shape \(9, 10\).*expected \(K, 9, 10\)'),
        ([(6, 9, 10)], (0, 9, 10), r'first label of shape \(0, 9, 10\)'),
        ([(6, 9)], (2, 9, 10), r'features are \(C, h, w\), not \(6, 9\)'),
        ([(6, 0, 10)], (2, 0, 10), r'features are \(C, h, w\), not \(6, 0, 10\)'),
        (
            [(6, 9, 10), (6, 9, 10), (6, 10, 9)],
            (2, 9, 10),
            r'frame 2 has features of shape \(6, 10, 9\), frame 0 \(6, 9, 10\)',
        ),
        ([(6, 9, 10), (5, 9, 10)], (2, 9, 10), r'frame 1 .* \(5, 9, 10\)'),
    ],
)
def test_shapes_that_do_not_fit(clip, label, message):
    states = propagate(map(torch.ones, clip), torch.ones(label), get_protocol('dino').davis.rules)
    with pytest.raises(ValueError, match=message):
        list(states)


def test_features_that_are_no_numbers():
    clip = random_clip(2, 6, 4, 5)
    clip[1][0, 2, 3] = torch.nan
    with pytest.raises(ValueError, match='not finite'):
        list(propagate(clip, random_label(2, 4, 5), get_protocol('dino').davis.rules))


def test_step_before_reset():
    with pytest.raises(RuntimeError, match='reset'):
        LabelPropagator(get_protocol('dino').davis.rules).step(torch.ones(6, 4, 5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('name', list(PROTOCOLS))
def test_gpu_equals_cpu(name):
    rules = get_protocol(name).davis.rules
    clip, label = random_clip(5, 6, 40, 37, torch.float64), random_label(3, 40, 37)
    expected = list(propagate(clip, label, rules))
    states = list(propagate([frame.cuda() for frame in clip], label, rules))
    assert all(state.is_cuda for state in states)
    torch.testing.assert_close([state.cpu() for state in states], expected)


@pytest.mark.skipif(not ROOT, reason='MMVIDEOMAC_TEST_DATA names no data folder')
def test_states_of_reference_implementations():
    differences = list(check(Path(ROOT, 'golden', 'label_propagation.pt')))
    assert len(differences) == 5
    for what, difference, tolerance in differences:
        assert difference <= tolerance, what
