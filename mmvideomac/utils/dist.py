"""Work that one process does for all."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from torch import distributed

#: How long the others wait. Collectives of a training step have ``env_cfg.dist_cfg.timeout``.
_LONG = timedelta(hours=24)

Result = TypeVar('Result')


def on_main_process(function: Callable[[], Result]) -> Result:
    """Call a function that may take hours on the first process only.

    The others wait in a process group of their own, whose time limit is a day, and whose
    messages do not pass through the GPU.

    Args:
        function: Its result, or the exception that it raises, must be picklable.

    Returns:
        Its result, on all processes.

    Raises:
        Exception: whatever it raised, on all processes.
    """
    group = distributed.new_group(backend='gloo', timeout=_LONG) if is_distributed() else None
    result = [None]
    if is_main_process():
        try:
            result = [(function(), None)]
        except Exception as error:  # the others would wait in vain
            result = [(None, error)]
    if group is not None:
        broadcast_object_list(result, group=group)
        distributed.destroy_process_group(group)
    value, error = result[0]
    if error is not None:
        raise error
    return value
