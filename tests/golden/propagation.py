"""Compare our label propagation with states of public reference implementations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmvideomac.evaluation import get_protocol, propagate, state_to_labels, state_to_points

from . import Difference

#: Ten roundings of 2^-24 in a similarity, over the least temperature, 0.05.
STATE = 1e-5
COORDINATES = 1e-4  # a state's error times places up to a dozen cells apart


def check(path: Path, device: str = 'cpu') -> Iterator[Difference]:
    """Propagate the labels of a file, by the rules of its name and its own parameters.

    Args:
        path: A file with features, first labels, parameters and expected states of the
            ``dino`` and ``crw`` rules.
        device: To compute on.

    Yields:
        (what, largest difference, tolerance).
    """
    golden = torch.load(path, weights_only=True, map_location=device)
    yield from _check_dino(golden['dino'])
    yield from _check_crw(golden['crw'])


def _check_dino(golden: dict) -> Iterator[Difference]:
    params, task = golden['params'], get_protocol('dino').davis
    _expect(params, neighborhood_shape='square, first frame included')
    rules = replace(
        task.rules,
        temperature=params['temperature'],
        topk=params['topk'],
        context=params['n_last_frames'],
        radius=params['neighborhood'],
    )
    states = torch.stack(list(propagate(golden['features'], _one_hot(golden), rules)))[1:]
    yield 'dino: states', _largest(states, golden['soft']), STATE
    expected = golden['hard_after_x8_bilinear_and_minmax']
    size = tuple(expected.shape[1:])
    ids = list(range(golden['num_labels']))
    labels = [state_to_labels(state, ids, size, size, task.min_max) for state in states]
    different = (torch.stack(labels) != expected).float().mean().item()
    yield 'dino: share of pixels with another label', different, 0


def _check_crw(golden: dict) -> Iterator[Difference]:
    params, task = golden['params'], get_protocol('crw').jhmdb
    circle = 'circle (distance < radius), not applied to the always-kept first frame'
    _expect(params, neighborhood_shape=circle, padded_with_first_frame=True)
    rules = replace(
        task.rules,
        temperature=params['temperature'],
        topk=params['topk'],
        context=params['context'],
        radius=params['neighborhood_radius_exclusive'],
    )
    states = torch.stack(list(propagate(golden['features'], _one_hot(golden), rules)))
    yield 'crw: states', _largest(states, golden['soft']), STATE
    poses = torch.stack(list(propagate(golden['features'], golden['pose_first'], rules)))
    yield 'crw: joint maps', _largest(poses, golden['pose_soft']), STATE
    cells = tuple(poses.shape[2:])  # taken as the frame's size: coordinates in cells
    points = torch.stack([state_to_points(pose, cells, task) for pose in poses])
    yield 'crw: joints, in cells', _largest(points, golden['pose_coords_top3']), COORDINATES


def _expect(params: dict, **rules: object) -> None:
    """What the protocol fixes must be as the file was made."""
    for name, value in rules.items():
        if params[name] != value:
            raise SystemExit(f'{name} is {params[name]!r}, but only {value!r} is known here')


def _one_hot(golden: dict) -> Tensor:
    labels = F.one_hot(golden['first_label'].long(), golden['num_labels'])
    return labels.permute(2, 0, 1).float()


def _largest(ours: Tensor, expected: Tensor) -> float:
    if ours.shape != expected.shape:
        raise SystemExit(f'shape {tuple(ours.shape)}, expected {tuple(expected.shape)}')
    return (ours - expected).abs().max().item()
