"""Logs as mmengine writes them."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from mmengine.config import Config
from PIL import Image


def train(iteration, epoch, **values):
    """A record of training."""
    return dict(values, epoch=epoch, iter=iteration, step=iteration)


def write_log(run: Path, time: str, records, gamma=1.0) -> Path:
    """Write ``<time>/vis_data`` of a work directory, ending in an unfinished line."""
    folder = run / time / 'vis_data'
    folder.mkdir(parents=True)
    lines = [json.dumps(record) for record in records]
    (folder / 'scalars.json').write_text('\n'.join([*lines, '{"loss": 1.']))
    consistency = dict(type='ReconstructionConsistencyLoss', loss_weight=gamma)
    Config(dict(model=dict(consistency_loss=consistency))).dump(folder / 'config.py')
    return run


LOG_HEADER = """\
{began} - mmengine - INFO -
------------------------------------------------------------
System environment:
    sys.platform: linux
    Python: 3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]
    CUDA available: True
    GPU 0,1: NVIDIA H100 80GB HBM3
    PyTorch: 2.13.0+cu130
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3
    MMEngine: 0.10.7

Runtime environment:
    seed: 7
    GPU number: 2
------------------------------------------------------------

{began} - mmengine - INFO - Config:
model = dict(type='VideoMAC')
"""


def write_start(
    work_dir: Path, time: str, records, config: Config, events=(), pictures=(), minutes=10
) -> Path:
    """Write a start of a run as mmengine leaves it; returns its ``vis_data``.

    Args:
        time: Its folder, ``'20260101_000000'``.
        events: What the text log says after its header, the last line ``minutes`` later.
        pictures: Iterations and colours of reconstructions.
    """
    folder = write_log(work_dir, time, records) / time / 'vis_data'
    config.dump(folder / 'config.py')
    began = datetime.strptime(time, '%Y%m%d_%H%M%S')
    stamps = [began] * (len(events) - 1) + [began + timedelta(minutes=minutes)]
    lines = [
        f'{stamp:%Y/%m/%d %H:%M:%S} - mmengine - {event}\n'
        for stamp, event in zip(stamps, events or ['INFO - Epoch(train)'], strict=True)
    ]
    header = LOG_HEADER.format(began=f'{began:%Y/%m/%d %H:%M:%S}')
    (folder.parent / f'{time}.log').write_text(header + ''.join(lines))
    if pictures:
        (folder / 'vis_image').mkdir()
    for iteration, colour in pictures:
        Image.new('RGB', (40, 30), colour).save(
            folder / 'vis_image' / f'reconstruction_{iteration}.png'
        )
    return folder


def resumed_twice(work_dir: Path, config: Config) -> Path:
    """Write a run of 60 iterations: SIGTERM at 25, killed after 50, resumed from 40, finished."""

    def records(first, last, **values):
        return [
            train(i, -(-i // 10), loss=2 - i / 100, time=0.5, memory=900.0 + i, **values)
            for i in range(first, last + 1, 5)
        ]

    write_start(
        work_dir,
        '20260101_100000',
        records(5, 25),
        config,
        [
            'INFO - FramePairDataset: 8 videos, 48 frames, 40 pairs per epoch',
            'WARNING - Stopped by SIGTERM at iteration 27; saved mid_epoch.pth. Run the same',
        ],
        [(0, 'red'), (25, 'yellow')],
    )
    lost = [{**record, 'loss': -1.0} for record in records(45, 50)]
    write_start(
        work_dir,
        '20260102_100000',
        [*records(30, 40), {'davis/J&F': 30.5, 'step': 4}, *lost],
        config,
        ['INFO - resumed epoch: 2, iter: 27', 'INFO - Saving checkpoint at 4 epochs'],
        [(50, 'green')],
    )
    write_start(
        work_dir,
        '20260103_100000',
        [*records(45, 60), {'davis/J&F': 40.25, 'probe_time': 9.0, 'step': 6}],
        config,
        [
            'INFO - resumed epoch: 4, iter: 40',
            'INFO - Saving checkpoint at 6 epochs',
            'INFO - Epoch(val) [6][3/3]    davis/J&F: 40.2500',
        ],
        [(60, 'blue')],
    )
    return work_dir
