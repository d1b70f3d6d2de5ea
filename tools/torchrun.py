"""torchrun that ends with the error of the tool, not with tables about its processes.

Arguments are those of torchrun. ``tools/torchrun.sh`` calls it.
"""

import os
import sys
import tempfile
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

#: As in mmvideomac.utils.errors, which would take seconds to import here.
ERROR_FILE_VARIABLE = 'MMVIDEOMAC_ERROR_FILE'


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'error.txt')
        os.environ[ERROR_FILE_VARIABLE] = str(path)
        try:
            run.main()
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            message = path.read_text(encoding='utf-8') if path.is_file() else str(error)
            print(f'\n{message}', file=sys.stderr, end='', flush=True)
            return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
        except SignalException as error:
            return 128 + error.sigval
    return 0


if __name__ == '__main__':
    sys.exit(main())
