"""Memory of the C library on CPUs."""

import ctypes

# Parameters of mallopt(3), <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next allocation, for the rest of the process.

    By default it returns large tensors to the system as they are freed and gets
    cleared pages back for the next ones: up to a tenth of a training step on a CPU.
    The process then stays at its peak, which every step comes back to anyway.

    Returns:
        bool: whether the C library is glibc and took the setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return False
    limit = 2**30
    settings = {_M_MMAP_THRESHOLD: limit, _M_TRIM_THRESHOLD: limit, _M_TOP_PAD: 2**26}
    taken = [mallopt(name, value) == 1 for name, value in settings.items()]
    return all(taken)
