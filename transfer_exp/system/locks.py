"""Locks of processes, as files that go away with what they are for.

Unlinking a locked file is safe if nobody takes the lock of a file that is no longer the one at its path:

    acquire:  lock the file at the path; if the path names another file by then, or none, let go and try again
    release:  unlink while the lock is held (so the path names this very file), then let go

Whoever had opened the old file finds it unlinked, and tries again with the new one. A killed process leaves its file, but
holds no lock.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["FileLock", "Timeout", "acquire", "release"]


def acquire(file: Path, *, blocking: bool = True) -> FileLock:
    """Take the lock of this file.

    Raises Timeout where another process has it and ``blocking`` is False, OSError where no lock can be had.
    """
    while True:
        lock = FileLock(file, blocking=blocking)
        lock.acquire()
        if _is_at(lock, file):
            return lock
        lock.release()


def release(lock: FileLock) -> None:
    """Give the lock back, and remove its file; does nothing where it is not held."""
    if lock.is_locked:
        with contextlib.suppress(OSError):  # Windows keeps open files; a folder may be read-only by now
            Path(lock.lock_file).unlink()
        lock.release()


def _is_at(lock: FileLock, file: Path) -> bool:
    """Whether the file that is locked is the one at its path."""
    held = lock._context.lock_file_fd  # filelock has no public name for it
    try:
        return held is None or os.path.samestat(os.fstat(held), file.stat())
    except FileNotFoundError:
        return False
