"""Print a config with all that it inherits.

python tools/misc/print_config.py configs/videomac_cnxv2t_yt18.py
python tools/misc/print_config.py CONFIG --cfg-options model.masker.mask_ratio=0.9 > mine.py

What is printed is a config itself.
"""

import argparse
import sys
from collections.abc import Sequence

from mmengine.config import DictAction

from mmvideomac.utils.config import load_config
from mmvideomac.utils.errors import reports_errors


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. train_cfg.max_epochs=10 "a.b=[1,2]"',
    )
    return parser.parse_args(argv)


@reports_errors
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    print(load_config(args.config, args.cfg_options).pretty_text)


if __name__ == '__main__':
    sys.exit(main())
