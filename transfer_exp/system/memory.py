"""Memory of a process: what arrays free is kept for the next, and what was imported is left alone.

Importing torch and MLflow makes a million objects that all stay. Python's garbage collector would go through them dozens of
times, while they are made and once more when the process ends: a third of the time of a short run.

By default glibc hands arrays of a few megabytes back to the system as soon as they are freed, and the next one of that
size pays again for every page: a fifth to a half of the time of crafting 1,000 points of 784 features.

Workers of a sweep (joblib's loky) are ended and made anew when they have grown by 300 MB, as if they leaked. What is kept on
purpose, freed memory and the arrays of ``work.recent``, is more: every worker was made anew each minute, and lost all of it.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_MEBIBYTE = 2**20
_GROWTH_OF_A_WORKER = 1_200 * _MEBIBYTE  # it begins at 500: below 2 GB


def keep_freed_memory() -> bool:
    """Keep up to 512 MiB of freed memory for this process's next arrays; False where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    options = ((_MMAP_THRESHOLD, 32), (_TRIM_THRESHOLD, 512), (_TOP_PAD, 64))
    return all(mallopt(option, size * _MEBIBYTE) == 1 for option, size in options)


def let_workers_grow() -> bool:
    """Let joblib end this process, one of its workers, after a growth of 1,200 MiB only; False where joblib has no limit.

    joblib offers no setting for it.
    """
    try:
        from joblib.externals.loky import process_executor
    except ImportError:
        return False
    if not hasattr(process_executor, "_MAX_MEMORY_LEAK_SIZE"):
        return False
    process_executor._MAX_MEMORY_LEAK_SIZE = _GROWTH_OF_A_WORKER
    return True


def start_collecting() -> None:
    """Collect garbage again, where ``__main__`` has stopped it; skip, always, what was imported by now."""
    if not gc.isenabled():
        _freeze_once()
        gc.enable()


@cache
def _freeze_once() -> None:
    gc.freeze()


def settle() -> None:
    """Collect garbage, and freeze what is left so that later collections skip it: a third of a second, every few jobs."""
    gc.collect()
    gc.freeze()


_jobs = itertools.count()


def settle_before_second_job() -> None:
    """Called before every job of a process: ``settle`` once the first has imported all that the others need."""
    if next(_jobs) == 1:
        settle()
