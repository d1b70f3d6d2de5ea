"""A classifier with another number of classes than its data: refused."""

from __future__ import annotations

from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmvideomac.models.wrappers import unwrap_model
from mmvideomac.registry import HOOKS


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
