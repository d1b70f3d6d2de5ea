"""Logs as mmengine writes them."""

import json
from pathlib import Path

from mmengine.config import Config


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
