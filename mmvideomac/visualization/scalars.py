"""What a run logged."""

import json
from pathlib import Path


def read_records(path: str | Path) -> list[dict]:
    """Records of mmengine's ``scalars.json``, in the order of logging.

    Lines that are no JSON are left out: a run that was killed while writing ends in one.

    Raises:
        ValueError: naming the file, if it holds no record with a step.
        OSError: if it cannot be read.
    """
    records = []
    for line in Path(path).read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and 'step' in record:
            records.append(record)
    if not records:
        raise ValueError(f'{path} is no log of mmengine, or nothing was logged yet')
    return records
