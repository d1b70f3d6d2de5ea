import re
from dataclasses import FrozenInstanceError, replace

import pytest

from mmvideomac.evaluation import PROTOCOLS, InputSize, PropagationRules, get_protocol


def test_names():
    assert list(PROTOCOLS) == ['dino', 'crw', 'vfs', 'cropmae', 'siammae', 'videomac']
    assert all(get_protocol(name).name == name for name in PROTOCOLS)
    assert all(protocol.source for protocol in PROTOCOLS.values())


@pytest.mark.parametrize('protocol', PROTOCOLS.values(), ids=PROTOCOLS)
def test_points_of_a_user_follow_the_rules_of_jhmdb_at_the_aspect_of_the_video(protocol):
    rules = protocol.points.rules
    assert replace(rules, first_frame_again='never') == replace(
        protocol.jhmdb.rules, first_frame_again='never'
    )
    # A cell of a still clip finds itself often enough.
    assert rules.first_frame_again == 'padding' and rules.context + 1 >= rules.topk
    assert protocol.points.input_size(1080, 1920) == (480, 853)
    assert protocol.jhmdb.input_size(1080, 1920) == (320, 320)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match=r"'dinov2': there are dino, crw, vfs, .*, videomac"):
        get_protocol('dinov2')


@pytest.mark.parametrize(
    ('name', 'numbers'),
    [
        ('dino', (0.1, 5, 7, 12, 'square', False, 'never', True)),
        ('crw', (0.05, 10, 20, 12, 'circle', True, 'padding', False)),
        ('vfs', (0.07, 10, 20, 18, 'circle', False, 'recent', False)),
        ('cropmae', (0.7, 7, 20, 20, 'circle', True, 'padding', False)),
        ('siammae', (0.7, 7, 20, 20, 'circle', True, 'padding', False)),
        ('videomac', (0.1, 5, 7, 12, 'square', False, 'never', True)),
    ],
)
def test_propagation_on_davis(name, numbers):
    assert get_protocol(name).davis.rules == PropagationRules(*numbers)


def test_tasks_that_differ():
    crw, cropmae, siammae = map(get_protocol, ('crw', 'cropmae', 'siammae'))
    assert (cropmae.vip.rules.topk, cropmae.jhmdb.rules.topk) == (10, 7)
    assert (siammae.vip.rules.topk, siammae.vip.rules.radius) == (10, 8)
    assert siammae.jhmdb.rules.radius == 20
    videomac = get_protocol('videomac')
    assert videomac.davis == get_protocol('dino').davis
    assert (videomac.vip, videomac.jhmdb) == (crw.vip, crw.jhmdb)
    assert [p.jhmdb.topk for p in PROTOCOLS.values()] == [3, 3, 5, 5, 3, 3]
    assert [p.name for p in PROTOCOLS.values() if p.jhmdb.score_first_frame] == ['vfs']
    assert [p.name for p in PROTOCOLS.values() if p.davis.score_at_input_size] == ['cropmae']


@pytest.mark.parametrize(
    ('name', 'davis', 'portrait'),
    [
        ('dino', (480, 832), (832, 480)),
        ('crw', (480, 854), (854, 480)),
        ('vfs', (480, 854), (854, 480)),
        ('cropmae', (480, 880), (480, 880)),
    ],
)
def test_input_sizes(name, davis, portrait):
    protocol = get_protocol(name)
    assert protocol.davis.input_size(480, 854) == davis
    assert protocol.davis.input_size(854, 480) == portrait
    assert protocol.vip.input_size(720, 1280) == (560, 560)
    assert protocol.jhmdb.input_size(240, 320) == (320, 320)


def test_short_side():
    assert InputSize(480, multiple=64)(1080, 1920) == (480, 832)
    assert InputSize(480)(240, 432) == (480, 864)
    assert InputSize(480, multiple=64)(500, 500) == (480, 448)


@pytest.mark.parametrize(
    ('again', 'copies'),
    [('never', [0, 0, 0, 0, 0]), ('recent', [1, 1, 1, 0, 0]), ('padding', [3, 2, 1, 0, 0])],
)
def test_copies_of_the_first_frame(again, copies):
    rules = PropagationRules(0.1, topk=5, context=3, radius=4, first_frame_again=again)
    assert [rules.copies_of_first_frame(frame) for frame in range(1, 6)] == copies


def test_reach():
    rules = PropagationRules(0.1, topk=5, context=3, radius=4)
    assert rules.reach == 3
    assert replace(rules, neighborhood='square').reach == 4


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(temperature=0), 'temperature must be above 0, not 0'),
        (dict(temperature=float('nan')), 'temperature must be above 0'),
        (dict(topk=0), 'topk must be a whole number from 1, not 0'),
        (dict(context=0), 'context must be a whole number from 1, not 0'),
        (dict(radius=0), 'radius must be a whole number from 1, not 0'),
        (dict(radius=-1, neighborhood='square'), 'radius must be a whole number from 0'),
        (dict(radius=2.5), 'radius must be a whole number from 1, not 2.5'),
        (dict(neighborhood='diamond'), "one of ('square', 'circle'), not 'diamond'"),
        (dict(first_frame_again='always'), "'padding'), not 'always'"),
    ],
)
def test_rules_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(get_protocol('crw').davis.rules, **change)


def test_a_single_cell_is_a_neighborhood():
    assert PropagationRules(0.1, 5, 7, radius=0, neighborhood='square').reach == 0


def test_protocols_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        get_protocol('dino').davis.rules.topk = 3
