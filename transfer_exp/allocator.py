"""Memory of a process that does many jobs: what arrays free is kept for the next, what was imported is left alone.

By default glibc hands arrays of a few megabytes back to the system as soon as they are freed, and the next one of that
size pays again for every page: a fifth to a half of the time of crafting 1,000 points of 784 features.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_MEBIBYTE = 2**20


def keep_freed_memory() -> bool:
    """Keep up to 512 MiB of freed memory for this process's next arrays; False where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    options = ((_MMAP_THRESHOLD, 32), (_TRIM_THRESHOLD, 512), (_TOP_PAD, 64))
    return all(mallopt(option, size * _MEBIBYTE) == 1 for option, size in options)


def settle() -> None:
    """Spare all that lives in this process by now any further garbage collection: a third of a second, every few jobs."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # databases are closed by the last collection


@cache
def settle_once() -> None:
    """``settle``, the first time only. Asking the collector whether it was done walks over all that lives, each time."""
    settle()
