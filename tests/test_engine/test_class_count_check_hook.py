from types import SimpleNamespace

import numpy as np
import pytest

from mmvideomac.engine import ClassCountCheckHook


def dataset(classes=None, labels=()):
    metainfo = {} if classes is None else dict(classes=tuple(classes))
    return SimpleNamespace(metainfo=metainfo, get_gt_labels=lambda: np.array(labels))


def check(train, head, one_hot=None, val=None):
    val = train if val is None else val
    runner = SimpleNamespace(
        model=SimpleNamespace(
            head=SimpleNamespace(num_classes=head),
            data_preprocessor=SimpleNamespace(num_classes=one_hot),
        ),
        train_dataloader=SimpleNamespace(dataset=train),
        val_dataloader=SimpleNamespace(dataset=val),
        val_loop=val,
    )
    ClassCountCheckHook().before_train(runner)


def test_what_agrees():
    check(dataset('abc'), 3, 3)
    check(dataset('abc'), 3)
    check(dataset(labels=[0, 2, 1, 2]), 3)


@pytest.mark.parametrize(
    'head, one_hot, expected',
    [
        (1000, None, 'model.head.num_classes is 1000: set model.head.num_classes=6 '),
        (6, 5, 'data_preprocessor.num_classes is 5: set data_preprocessor.num_classes=6 '),
        (2, 2, ': set model.head.num_classes=6 data_preprocessor.num_classes=6 '),
    ],
)
def test_another_count_is_named_with_its_remedy(head, one_hot, expected):
    with pytest.raises(ValueError) as error:
        check(dataset('abcdef'), head, one_hot)
    assert 'the training data has 6 classes (a, b, c, d, ...)' in str(error.value)
    assert expected in str(error.value)


def test_validation_has_the_same_classes():
    with pytest.raises(ValueError, match=r'\(2: a, c\) are not those of the training data \(2: a'):
        check(dataset('ab'), 2, val=dataset('ac'))
