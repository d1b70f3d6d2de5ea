"""Compare mmvideomac with numbers of reference implementations.

    python tests/golden_check.py FILE... [--backend native masked] [--data ROOT] [--device cuda]

A file tells by its content what it is:
    training steps of the released VideoMAC       (as videomac_convnextv2.pt)
    states of label propagation, dino and crw     (as label_propagation.pt)
    J and F of DAVIS; needs --data                (as davis_metric.json)
    PCK and IoU                                   (as pck_vip_metrics.json)

Prints the largest differences and exits non-zero beyond the tolerances.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmvideomac.models.sparse import BACKENDS
from mmvideomac.ops import allow_tf32
from tests.golden import Difference, metrics, propagation, training


def content(path: Path) -> set[str]:
    """The top-level keys of a file."""
    try:
        if path.suffix == '.json':
            return set(json.loads(path.read_text()))
        return set(torch.load(path, weights_only=True))
    except Exception as error:
        raise SystemExit(f'{path} is not a golden file ({type(error).__name__})') from None


def passes(title: str, differences: Iterable[Difference]) -> bool:
    """Print a comparison; True if all is within tolerance."""
    print(title)
    passed = True
    for what, difference, tolerance in differences:
        within = difference <= tolerance  # False for NaN too
        passed &= within
        verdict = '' if within else '  FAIL'
        print(f'  {what:40s} {difference:.2e}  (at most {tolerance:g}){verdict}')
    return passed


def check(path: Path, backends: Iterable[str], data: Path | None, device: str = 'cpu') -> bool:
    """Compare one file; True if all is within tolerance."""
    keys = content(path)
    if {'meta', 'losses'} <= keys:
        results = [
            passes(f'{path.name}, {name} backend', training.check(path, name, device))
            for name in backends
        ]
        return all(results)
    if {'dino', 'crw'} <= keys:
        return passes(path.name, propagation.check(path, device))
    if {'pck', 'vip'} <= keys:
        return passes(path.name, metrics.check_pck_vip(path))
    if 'sequences' in keys:
        if data is None:
            raise SystemExit(f'{path}: give --data, the folder of davis and the predictions')
        return passes(path.name, metrics.check_davis(path, data))
    raise SystemExit(f'{path} is not a golden file: it holds {sorted(keys)[:5]}')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('files', nargs='+', type=Path)
    parser.add_argument('--backend', nargs='+', choices=sorted(BACKENDS), default=sorted(BACKENDS))
    parser.add_argument('--data', type=Path, metavar='ROOT', help='folder that holds davis')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    args = parser.parse_args()
    if args.device == 'cuda':
        allow_tf32(False)
    missing = [str(path) for path in args.files if not path.is_file()]
    if missing:
        raise SystemExit(f'no such file: {", ".join(missing)}')
    try:
        passed = [check(path, args.backend, args.data, args.device) for path in args.files]
    except ImportError as error:  # a backend that is not installed
        raise SystemExit(error) from None
    sys.exit(0 if all(passed) else 1)


if __name__ == '__main__':
    main()
