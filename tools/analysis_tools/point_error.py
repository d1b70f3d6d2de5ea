"""How far propagated points are from the true ones, as any video has them and as JHMDB has them.

python tools/analysis_tools/point_error.py CHECKPOINT CONFIG:random color --jhmdb data/jhmdb

Points of any video are read between the cells of the features; joints by the protocol of JHMDB
are means of cells, of frames squeezed into a square. Each is measured at both input sizes, in
pixels of the video, over all frames but the first: the mean, and the share within 1, 2, 4 and
8 pixels, as TAP-Vid counts it (Doersch et al., NeurIPS 2022). An ENCODER is as
tools/evaluate_encoder.py takes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from mmengine.config import ConfigDict
from mmengine.device import get_device

from mmvideomac.datasets import JHMDBDataset
from mmvideomac.evaluation import PROTOCOLS, InputSize, LabelPropagation, get_protocol
from mmvideomac.evaluation.benchmark import use_mean_color
from mmvideomac.evaluation.clip_workers import build_model
from mmvideomac.evaluation.compare import Table
from mmvideomac.evaluation.encoder_sources import EncoderSource, parse_encoder
from mmvideomac.utils.errors import reports_errors
from mmvideomac.utils.progress import progress

TASKS = dict(jhmdb='joints of JHMDB', points='points')
WITHIN = (1, 2, 4, 8)  # pixels


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('encoders', nargs='+', metavar='ENCODER', help='see above')
    parser.add_argument('--jhmdb', required=True, metavar='ROOT', help='folder of JHMDB')
    parser.add_argument('--protocol', choices=PROTOCOLS, default='videomac')
    parser.add_argument('--sequences', type=int, metavar='N', help='the first N clips alone')
    parser.add_argument('--max-frames', type=int, metavar='N', help='of each clip')
    return parser.parse_args(argv)


def build(source: EncoderSource, protocol: str, task: str, size: InputSize) -> LabelPropagation:
    """An encoder on a task, with frames of a size."""
    settings = ConfigDict(type='LabelPropagation', **source.model)
    settings.update(task=task, protocol=protocol)
    if source.weights == 'color':
        use_mean_color(settings)
    model = build_model(settings, source.weights, seed=0).to(get_device())
    model.settings = replace(model.settings, input_size=size)
    return model


def distances(model: LabelPropagation, dataset: JHMDBDataset) -> np.ndarray:
    """From the true points, in pixels of the video, NaN for what is called invisible.

    Returns:
        float64, one for each point of each frame but the first ones.
    """
    found = []
    for item in progress(dataset, what=model.description, unit='clip'):
        (sample,) = model.test_step(
            dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        )
        points = sample.pred_points.numpy()
        points = np.where(points[:1] < 0, np.nan, points)
        found.append(np.linalg.norm(points - sample.gt_points, axis=0)[:, 1:].ravel())
    return np.concatenate(found)


def line(errors: np.ndarray) -> list[str]:
    """Mean, and shares in percent, of distances; what is called invisible is within none."""
    shares = [f'{100 * (errors <= limit).mean():.1f}' for limit in WITHIN]
    return [f'{np.nanmean(errors):.2f}', *shares]


def describe(size: InputSize) -> str:
    """In a few words."""
    return f'short side {size.size}' if isinstance(size.size, int) else '{}x{}'.format(*size.size)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    sources = [parse_encoder(spec) for spec in args.encoders]
    protocol = get_protocol(args.protocol)
    dataset = JHMDBDataset(args.jhmdb, indices=args.sequences, max_frames=args.max_frames)
    lines = []
    for source in sources:
        for size in (protocol.jhmdb.input_size, protocol.points.input_size):
            for task, name in TASKS.items():
                errors = distances(build(source, args.protocol, task, size), dataset)
                lines.append([source.name, f'{name}, {describe(size)}', *line(errors)])
    head = ['encoder', 'labels, input', 'mean (px)', *(f'within {n} px (%)' for n in WITHIN)]
    print(f'\n{Table(head, lines, []).markdown()}')


if __name__ == '__main__':
    sys.exit(main())
