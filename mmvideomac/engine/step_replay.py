"""An optimiser step once more, looked at module by module: where numbers stop being finite.

Hooks on all modules would cost too much in every step. Instead what a step is computed from
is kept until it is over (:class:`~mmvideomac.engine.hooks.NonFiniteStepHook`), and a step that
is not finite is computed again here, in the same process or from the file that it left.
"""

from __future__ import annotations

import io
import os
import pickle
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmvideomac.models.sparse import VisiblePatches, keep_buffers, observe_layers
from mmvideomac.utils.files import write_file

_FORMAT = 'mmvideomac step 1'
_SAMPLE = 'data_sample'  # key of a packed DataSample


@dataclass
class Activation:
    """One output of a module, and the gradient of the loss with respect to it.

    Attributes:
        module: Name and class, and which of its calls.
        shape: Of the output.
        largest: Largest finite absolute value.
        finite: Whether all values are finite.
        gradient, gradient_is_finite: The same of the gradient; None where there was none.
    """

    module: str
    shape: tuple[int, ...]
    largest: float
    finite: bool
    gradient: float | None = None
    gradient_is_finite: bool | None = None


@dataclass
class Replay:
    """One iteration, computed again.

    Attributes:
        losses: Terms of the loss and their sum, ``loss``.
        activations: In the order of the forward pass.
        bad_output: The first module whose output is not finite; None: all are.
        bad_gradient: The first gradient of the backward pass, of a module's output or a
            parameter, that is not finite; None: all are.
        bad_samples: Indices in the batch, as far as outputs and gradients tell them.
    """

    losses: dict[str, float] = field(default_factory=dict)
    activations: list[Activation] = field(default_factory=list)
    bad_output: str | None = None
    bad_gradient: str | None = None
    bad_samples: list[int] = field(default_factory=list)

    @property
    def finite(self) -> bool:
        """Whether loss, outputs and gradients all are."""
        faults = (self.bad_output, self.bad_gradient)
        return np.isfinite(list(self.losses.values())).all().item() and faults == (None, None)

    def __str__(self) -> str:
        if self.bad_output:
            return f'the first output that is not finite is that of {self.bad_output}'
        if self.bad_gradient:
            return f'the first gradient that is not finite is that of {self.bad_gradient}'
        return 'all is finite' if self.finite else 'the loss is not finite, all outputs are'


def random_state(device: torch.device) -> dict:
    """States of all generators that a forward pass may draw from."""
    state = dict(python=random.getstate(), numpy=np.random.get_state(), torch=torch.get_rng_state())
    if device.type != 'cpu':
        state['device'] = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(state: Mapping, device: torch.device) -> None:
    """Set what :func:`random_state` returned; a generator of another device is left alone."""
    random.setstate(state['python'])
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, np.asarray(keys), *rest))
    torch.set_rng_state(state['torch'])
    if device.type != 'cpu' and 'device' in state:
        torch.get_device_module(device).set_rng_state(state['device'], device)


def replay_step(
    model: nn.Module,
    iterations: Sequence[Mapping],
    loss_scale: float = 1.0,
    autocast: torch.dtype | None = None,
) -> list[Replay]:
    """Compute the iterations of an optimiser step again, each by itself.

    Parameters, buffers and random state are left as they were; gradients are gone.
    Processes exchange nothing, but for what the model itself does.

    Args:
        model: Not wrapped, as it was before the step, in its mode.
        iterations: Of the step, each ``dict(batch, random_state)``.
        loss_scale: Of mixed precision in float16.
        autocast: Type of its forward passes; None for none.
    """
    device = next(model.parameters()).device
    before, replays = random_state(device), []
    try:
        with keep_buffers(model):
            for iteration in iterations:
                set_random_state(iteration['random_state'], device)
                scale = loss_scale / len(iterations)
                replays.append(_replay(model, iteration['batch'], scale, autocast))
    finally:
        model.zero_grad()
        set_random_state(before, device)
    return replays


def _replay(model: nn.Module, batch: Mapping, scale: float, autocast: torch.dtype | None) -> Replay:
    model.zero_grad()
    device = next(model.parameters()).device
    with _watch(model, batch_size(batch)) as replay:
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            losses = model._run_forward(model.data_preprocessor(batch, True), mode='loss')
        loss, terms = model.parse_losses(losses)
        replay.losses = {name: term.item() for name, term in terms.items()}
        (loss * scale).backward()
    return replay


@contextmanager
def _watch(model: nn.Module, samples: int) -> Iterator[Replay]:
    """Note what modules return and what gradients come back."""
    replay, names, calls = Replay(), {}, {}
    for name, module in model.named_modules():
        names[module] = f'{name} ({type(module).__name__})' if name else type(module).__name__

    def see_gradient(gradient: Tensor, name: str, activation: Activation | None = None) -> None:
        largest, finite = _magnitude(gradient)
        if activation is not None:
            activation.gradient, activation.gradient_is_finite = largest, finite
            replay.bad_samples = replay.bad_samples or _bad_rows(gradient, samples)
        if not finite and replay.bad_gradient is None:
            replay.bad_gradient = name

    def see_output(module: nn.Module, output: object) -> None:
        if replay.losses:  # gradient checkpointing, which computes again in the backward pass
            return
        for tensor in filter(torch.is_floating_point, _tensors(output)):
            calls[module] = calls.get(module, 0) + 1
            name = names[module] + (f', call {calls[module]}' if calls[module] > 1 else '')
            largest, finite = _magnitude(tensor)
            activation = Activation(name, tuple(tensor.shape), largest, finite)
            replay.activations.append(activation)
            replay.bad_samples = replay.bad_samples or _bad_rows(tensor, samples)
            if not finite and replay.bad_output is None:
                replay.bad_output = name
            if tensor.requires_grad:
                source = f'the output of {name}'
                tensor.register_hook(partial(see_gradient, name=source, activation=activation))

    called = None  # the layer on visible patches that was called as a module too

    def after_module(module: nn.Module, _, output: object) -> None:
        nonlocal called
        called = module
        see_output(module, output)

    def after_sparse_layer(module: nn.Module, y: VisiblePatches) -> None:
        nonlocal called
        if module is not called:
            see_output(module, y.features)
        called = None

    handles = [module.register_forward_hook(after_module) for module in names]
    handles += [
        parameter.register_hook(partial(see_gradient, name=f'the parameter {name}'))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        with observe_layers(after_sparse_layer):
            yield replay
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _magnitude(tensor: Tensor) -> tuple[float, bool]:
    """Largest finite absolute value, and whether all are finite."""
    values = tensor.detach()
    finite = values.isfinite()
    largest = values.abs().where(finite, 0).max().item() if values.numel() else 0.0
    return largest, finite.all().item()


def _bad_rows(tensor: Tensor, samples: int) -> list[int]:
    """The samples whose values are not all finite, if the tensor has a row for each."""
    if tensor.ndim < 2 or len(tensor) != samples:
        return []
    return (~tensor.detach().isfinite().flatten(1).all(1)).nonzero().flatten().tolist()


def batch_size(batch: Mapping) -> int:
    """Samples of a batch of the loader."""
    inputs = batch['inputs']
    return len(inputs if isinstance(inputs, Tensor) else inputs[0])


def describe_samples(batch: Mapping, indices: Sequence[int] = ()) -> list[str]:
    """Samples of a batch of the loader in words: video, frames, index and seed.

    Args:
        batch: ``inputs`` and, if it has them, ``data_samples``.
        indices: Of the samples to describe; none: all.
    """
    samples = batch.get('data_samples')
    indices = indices or range(batch_size(batch))
    return [_describe(samples[i].metainfo if samples else {}, i) for i in indices]


def _describe(info: Mapping, position: int) -> str:
    source = info.get('video') or info.get('img_path') or f'sample {position} of the batch'
    frames = info.get('frame_indices')
    facts = {'index': 'sample_idx', 'seed': 'sample_seed'}
    known = [f'{word} {info[key]}' for word, key in facts.items() if key in info]
    return (
        str(source)
        + (f' frames {", ".join(map(str, frames))}' if frames is not None else '')
        + (f' ({", ".join(known)})' if known else '')
    )


def write_step(path: str | os.PathLike, step: Mapping) -> int:
    """Write a step to a file that :func:`read_step` reads, complete or not at all.

    Args:
        path: To write.
        step: ``config`` (dict), ``state_dict``, ``iterations`` (as of :func:`replay_step`),
            ``loss_scale``, ``autocast``, and plain facts.

    Returns:
        Bytes of the file.

    Raises:
        OSError: if it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(_pack(step), format=_FORMAT), buffer)
    write_file(path, buffer.getbuffer())
    return buffer.tell()


def read_step(path: str | os.PathLike) -> dict:
    """Read what :func:`write_step` wrote, tensors to the CPU.

    Nothing but tensors and plain values is read, so that the file can run no code.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, or damaged.
    """
    try:
        step = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f'the step {os.fspath(path)} does not exist') from None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f'{path} cannot be read as a step ({reason})') from error
    if not isinstance(step, dict) or step.get('format') != _FORMAT:
        raise ValueError(f'{path} is no step that training left: give a nonfinite_step_*.pth')
    return _unpack(step)


def _pack(value: object) -> object:
    """In types that torch reads safely."""
    if isinstance(value, BaseDataElement):
        return {_SAMPLE: [_pack(value.metainfo), _pack(dict(value.items()))]}
    if isinstance(value, Mapping):
        return {key: _pack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_pack, value)) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    plain = value is None or isinstance(value, bool | int | float | str | Tensor | torch.dtype)
    return value if plain else str(value)


def _unpack(value: object) -> object:
    if isinstance(value, dict) and value.keys() == {_SAMPLE}:
        metainfo, fields = _unpack(value[_SAMPLE])
        sample = DataSample(metainfo=metainfo)
        sample.set_data(fields)
        return sample
    if isinstance(value, dict):
        return {key: _unpack(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_unpack, value))
    return value
