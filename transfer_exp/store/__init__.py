"""The store: finished pieces of work (fitted learners, crafted points) on disk, each under its signature.

An entry is one ``.npz`` of plain arrays, read without pickle: reading it cannot run code, whoever wrote it. One member says
what the entry is, and of what code it was made. Entries are written to a temporary file and renamed, so a reader sees a
whole entry or none; one that cannot be read, or that is another piece, is made again. A lock per entry lets a second process
wait for the first instead of repeating its work. ``python -m transfer_exp.store`` shows what is there.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from transfer_exp.signature import Key
from transfer_exp.store.label import LABEL, label_of, mismatch
from transfer_exp.system.locks import FileLock, acquire, release
from transfer_exp.system.npz import Arrays, read_npz
from transfer_exp.types import UserError

__all__ = ["Arrays", "Store"]
_log = logging.getLogger(__name__)
_known: set[object] = set()
"""Entries that this process has read, and found whole: path, inode, size, time of the last change."""
_SETTLED = 2.0  # seconds: a change soon after another may leave a file's time as it was


class Store:
    """Entries ``<root>/<kind>/<key>.npz``.

    ``hits`` and ``misses`` count the look-ups of this object by kind, ``written`` the bytes of what it has stored.

    One that is there and cannot be written is read all the same: what it lacks raises UserError. ``fallback``: folder for
    locks of runs and sweeps then.
    """

    def __init__(self, root: str | Path, *, fallback: str | Path | None = None) -> None:
        self.root = Path(root).expanduser().absolute()
        self.hits: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()
        self.written = 0
        self._locks = self.root / "locks"
        self._refused: OSError | None = None
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._locks):
                pass
        except OSError as error:
            if not self.root.is_dir():
                raise self._unwritable(error) from error
            self._refused = error
            if fallback is not None:
                self._locks = Path(fallback).expanduser().absolute()
                with suppress(OSError):  # told when a lock is wanted
                    self._locks.mkdir(parents=True, exist_ok=True)

    def get(self, kind: str, key: str, make: Callable[[], Mapping[str, Any]]) -> Arrays:
        """The arrays stored as ``kind`` under ``key``; made by ``make``, and stored, when there are none.

        Under a key that is not ``storable`` nothing is looked for, and nothing stored.
        Raises UserError when the entry cannot be written.
        """
        if isinstance(key, Key) and not key.storable:
            self.misses[kind] += 1
            return _made(make)
        file = self.root / kind / f"{key}.npz"
        found = self._read(file, kind, key)
        if found is None:
            if self._refused is not None:
                raise self._unwritable(self._refused) from self._refused
            with self.lock(f"{kind}-{key}"):
                found = self._read(file, kind, key)  # another process may have finished it meanwhile
                if found is None:
                    self.misses[kind] += 1
                    made = _made(make)
                    self._write(file, {**made, LABEL: label_of(kind, key, made)})
                    return made
        self.hits[kind] += 1
        return found

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry of this kind and key; it may turn out to be damaged."""
        return (self.root / kind / f"{key}.npz").is_file()

    def lock_file(self, name: str) -> Path:
        """The file of the lock of this name: one process holds it at a time, and none once that process is gone."""
        return self._locks / f"{name}.lock"

    @contextmanager
    def lock(self, name: str) -> Iterator[FileLock]:
        """Hold the lock of this name, waiting for whoever has it. Raises UserError where no lock can be had."""
        try:
            lock = acquire(self.lock_file(name))
        except OSError as error:  # no space for its file, no permission, or a file system without locks
            raise self._unwritable(error) from error
        try:
            yield lock
        finally:
            release(lock)

    def _read(self, file: Path, kind: str, key: str) -> Arrays | None:
        mark, age = None, 0.0
        try:
            with file.open("rb") as handle:
                about = os.fstat(handle.fileno())
                mark, age = (str(file), about.st_ino, about.st_size, about.st_mtime_ns), time.time() - about.st_mtime
                found = read_npz(handle, is_known=mark in _known)
            wrong = mismatch(found.pop(LABEL, None), kind, key, found)
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
            wrong, found = f"is damaged ({error})", {}
        if wrong:
            _log.warning("store: %s %s and is made again", file, wrong)
            return None
        if age > _SETTLED:
            _known.add(mark)
        return found

    def _write(self, file: Path, arrays: Arrays) -> None:
        # The lock is held: nobody else writes this file, and one left behind by a killed process is overwritten.
        temporary = file.with_name(f".{file.name}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as handle:
                    np.savez(handle, allow_pickle=False, **arrays)
                self.written += temporary.stat().st_size
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"store: expected to be able to write below {self.root}, got {error.strerror or error}; set paths.store to a "
            "folder with space and write permission (without it, the store lies in paths.root)"
        )


def _made(make: Callable[[], Mapping[str, Any]]) -> Arrays:
    return {name: np.asarray(array) for name, array in make().items()}
