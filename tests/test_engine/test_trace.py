"""The losses of a fixed-seed run, data loading to EMA.

A change that should not alter numbers must leave them as they are. One that
should must say so where it replaces them.

On one machine two runs are the same to the bit. On another the order of its sums differs, and
Adam makes steps of up to lr of a gradient that is mere rounding. But a loss hardly depends on
a weight whose gradient is near zero: with every float32 result off by 2 units in the last
place these losses move by 1e-6. The bound leaves room for 20 times that; a change of the
schedule, the masks, the crops or the momentum moves them by 1e-4 and more.
"""

import PIL
import pytest
import torch

from mmvideomac.engine.launch import adapt_to_cpu
from tests.test_engine.tiny import tiny_config, write_videos
from tests.test_engine.toy import train

TRACE = [
    1.999345422,
    1.997867942,
    1.995031238,
    1.988909364,
    2.004433155,
    1.996039987,
    1.996541739,
    1.993119717,
    2.000672579,
    1.994706988,
]
# Before 13 Pillow resizes crops that are taller than wide in another order, and so rounds some
# of their pixels to a neighbour.
if int(PIL.__version__.split('.')[0]) < 13:
    TRACE[2:] = [
        1.995033741,
        1.988908887,
        2.004547119,
        1.996011138,
        1.996243000,
        1.992935300,
        2.000438213,
        1.995530367,
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason='the numbers are those of a CPU')
def test_fixed_seed_losses(tmp_path):
    (tmp_path / 'videos').mkdir()
    write_videos(tmp_path / 'videos')

    def losses(work_dir):
        config = tiny_config(tmp_path / 'videos', epochs=2, workers=0)
        config.model.backbone.drop_path_rate = 0.2
        config.work_dir = str(tmp_path / work_dir)
        adapt_to_cpu(config)
        return [values[0] for values in train(config)[1].trace.values()]

    trace = losses('first')
    assert trace == pytest.approx(TRACE, rel=1e-5), repr(trace)
    assert trace == losses('second')
