"""What the pre-training of an encoder took, as its log tells."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmvideomac.checkpoint.files import read_meta
from mmvideomac.visualization.curves import read_run


def pretraining_cost(checkpoint: str | Path) -> dict[str, float]:
    """What the log beside a checkpoint says of the run up to it.

    Args:
        checkpoint: In the work directory of the run.

    Returns:
        As far as it is known: ``pairs_per_s`` (mean), ``memory``, the peak in MiB (of the
        GPU, or of the process without one), and ``samples``, pairs seen.
    """
    try:
        run = read_run(Path(checkpoint).parent)
    except (FileNotFoundError, ValueError):  # moved away from its run
        return {}
    iterations = read_meta(checkpoint).get('iter')
    records = [record for record in run.records if 'iter' in record]
    if iterations is None or not records:
        return {}
    records = [record for record in records if record['iter'] <= iterations] or records[:1]
    cost = {}
    if speeds := [record['pairs_per_s'] for record in records if 'pairs_per_s' in record]:
        cost['pairs_per_s'] = sum(speeds) / len(speeds)
    if memory := [record['memory'] for record in records if 'memory' in record]:
        cost['memory'] = max(memory)
    cfg = Config.fromfile(run.config)
    if batch := cfg.get('total_batch_size'):
        steps = iterations // cfg.optim_wrapper.get('accumulative_counts', 1)
        cost['samples'] = steps * batch
    return cost
