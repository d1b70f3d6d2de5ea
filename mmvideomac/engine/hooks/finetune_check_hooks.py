"""Fine-tuning that would go wrong unnoticed: refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy

from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import PretrainedInit
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn

from mmvideomac.checkpoint.files import read_state_dict
from mmvideomac.checkpoint.loading import describe_encoder, load_state_dict_strictly
from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS


@HOOKS.register_module()
class PretrainedCheckHook(Hook):
    """Before training: an ``init_cfg=dict(type='Pretrained')`` must load what it names.

    mmengine itself only warns, however little of a checkpoint fits, and trains on from
    random weights. For the rule see :func:`check_pretrained`.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it cannot be read, or does not fit.
    """

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner._train_loop, BaseLoop):
            return  # testing: the weights come from elsewhere, this checkpoint may be gone
        for name, module, cfg in _pretrained_parts(unwrap_model(runner.model)):
            check_pretrained(module, cfg['checkpoint'], cfg.get('prefix'), name)


def check_pretrained(
    module: nn.Module, checkpoint: str, prefix: str | None = None, name: str = 'model'
) -> None:
    """Check that ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`` fits.

    Children of the module that the checkpoint knows nothing of stay as initialised
    (output norms of earlier stages, in a detector's encoder), and children that only the
    checkpoint has are ignored. A child that both have must agree in every name and
    shape, and there must be one.

    Args:
        module: To be initialised. Its weights are not changed.
        checkpoint: File or URL.
        prefix: What the names of the module's weights begin with in the checkpoint.
        name: Of the module in the model, for messages.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it cannot be read, or does not fit.
    """
    content = read_state_dict(checkpoint)
    prefix = prefix.removesuffix('.') + '.' if prefix else ''
    found = {key[len(prefix) :]: v for key, v in content.items() if key.startswith(prefix)}
    own = module.state_dict()
    shared = {_child(key) for key in own} & {_child(key) for key in found}
    if not shared:
        raise ValueError(
            f'{checkpoint} would initialise nothing of {name} with prefix={prefix!r}.'
            + _advice(content, own)
        )
    wanted = {key: value for key, value in own.items() if _child(key) not in shared}
    wanted.update({key: value for key, value in found.items() if _child(key) in shared})
    load_state_dict_strictly(
        deepcopy(module), wanted, f'{checkpoint} (prefix={prefix!r}, for {name})'
    )


def _pretrained_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module, Mapping]]:
    for name, module in model.named_modules(prefix='model'):
        init_cfg = getattr(module, 'init_cfg', None) or []
        for cfg in [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg:
            if cfg['type'] in ('Pretrained', 'PretrainedInit', PretrainedInit):
                yield name, module, cfg


def _child(key: str) -> str:
    return key.split('.')[0]


def _advice(content: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    key = next(iter(own))
    prefixes = [name.removesuffix(key) for name in content if ('.' + name).endswith('.' + key)]
    if prefixes:
        return f' Set init_cfg.prefix to {" or ".join(map(repr, prefixes))}.'
    return (
        f'\n  it holds: {describe_encoder(content)} ({", ".join(list(content)[:3])}, ...)'
        f'\n  wanted: {describe_encoder(own)}'
    )


@HOOKS.register_module()
class ClassCountCheckHook(Hook):
    """Before training: head, one-hot labels and data sets must agree on the classes.

    Too few outputs would end in an index error of the loss, too many would train
    unnoticed. (mmpretrain's own ``ClassNumCheckHook`` fails on its label smoothing, whose
    ``num_classes`` is unset.)

    Raises:
        ValueError: if they do not agree.
    """

    def before_train(self, runner: Runner) -> None:
        train = runner.train_dataloader.dataset
        model = unwrap_model(runner.model)
        counts = {'model.head.num_classes': model.head.num_classes}
        if model.data_preprocessor.num_classes is not None:
            counts['data_preprocessor.num_classes'] = model.data_preprocessor.num_classes
        classes = _classes(train)
        if wrong := {key: count for key, count in counts.items() if count != len(classes)}:
            raise ValueError(
                f'the training data has {len(classes)} classes ({_listing(classes)}), but '
                + ', '.join(f'{key} is {count}' for key, count in wrong.items())
                + ': set '
                + ' '.join(f'{key}={len(classes)}' for key in wrong)
                + ' (after --cfg-options, or in the config)'
            )
        if runner.val_loop is None:
            return
        val = _classes(runner.val_dataloader.dataset)
        if val != classes:
            raise ValueError(
                f'the classes of the validation data ({len(val)}: {_listing(val)}) are not those '
                f'of the training data ({len(classes)}: {_listing(classes)})'
            )


def _classes(dataset: BaseDataset) -> list[str]:
    """Names of the classes; of a bare list of labels their numbers, up to the highest."""
    names = dataset.metainfo.get('classes')
    return list(names or map(str, range(max(dataset.get_gt_labels()) + 1)))


def _listing(classes: list[str]) -> str:
    return ', '.join(classes[:4]) + (', ...' if len(classes) > 4 else '')
