"""What mmengine says, and need not."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def quiet() -> Iterator[None]:
    """Without mmengine's lines for every parameter and every file; warnings are shown."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
