"""Weights of an encoder, out of whatever checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from .loading import describe_encoder, load_state_dict_strictly

#: Where a checkpoint may hold the encoder, the likeliest first.
_PLACES = dict(
    online=('backbone.', 'encoder.', 'model.backbone.', 'extractor.backbone.', ''),
    target=('target.backbone.', 'target_backbone.', 'ema_backbone.'),
)


def find_encoder(
    state_dict: Mapping[str, Tensor], backbone: nn.Module, source: str, network: str = 'online'
) -> dict[str, Tensor]:
    """The part of a state dict that is an encoder of this architecture.

    Args:
        state_dict: Of a pre-training model, a classifier or detector of OpenMMLab
            (``backbone.*``), or of the encoder itself.
        backbone: The encoder.
        source: What the state dict is from, for the message.
        network: Of pre-training: ``'online'`` (``backbone.*``), or ``'target'``
            (``target.backbone.*``).

    Raises:
        ValueError: if there is none.
    """
    own = backbone.state_dict()
    for place in _PLACES[network]:
        # A stage's name is also that of other modules: 'norm0' alone is no encoder.
        found = {key: value for key, value in own.items() if place + key in state_dict}
        if 2 * len(found) >= len(own):
            names = {key.split('.')[0] for key in own}
            inside = {
                key[len(place) :]: value
                for key, value in state_dict.items()
                if key.startswith(place)
            }
            # Of a plain one also what is not of the encoder: heads.
            return {k: v for k, v in inside.items() if place or k.split('.')[0] in names}
    if network == 'target' and any(key.startswith('backbone.') for key in state_dict):
        raise ValueError(
            f'{source} holds no target network, only the online one: take network="online"'
        )
    raise ValueError(
        f'{source} holds no usable encoder.\n'
        f'  it holds: {describe_encoder(state_dict)} ({len(state_dict)} tensors, '
        f'{", ".join(list(state_dict)[:3])}, ...)\n'
        f'  wanted: {describe_encoder(own) if own else "an encoder without any weights"}\n'
        'Use the config that it was trained with. Weights in the names of the released VideoMAC or '
        'FCMAE code: tools/model_converters/official_to_mmvideomac.py converts them.'
    )


def load_encoder(
    backbone: nn.Module, state_dict: Mapping[str, Tensor], source: str, network: str = 'online'
) -> None:
    """Load all weights of an encoder; see :func:`find_encoder`.

    Raises:
        ValueError: if there is no encoder, or it does not fit in names or shapes.
    """
    encoder = find_encoder(state_dict, backbone, source, network)
    load_state_dict_strictly(backbone, encoder, source)
