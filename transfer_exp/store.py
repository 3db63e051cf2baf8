"""The store: finished pieces of work (fitted learners, crafted points) on disk, each under its signature.

An entry is one ``.npz`` of plain arrays, read without pickle: reading it cannot run code, whoever wrote it. Entries are
written to a temporary file and renamed, so a reader sees a whole entry or none; one that cannot be read is made again.
A lock per entry lets a second process wait for the first instead of repeating its work.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from filelock import FileLock

from transfer_exp.types import UserError

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]
_log = logging.getLogger(__name__)


class Store:
    """Entries ``<root>/<kind>/<key>.npz``. ``hits`` and ``misses`` count the look-ups of this object by kind."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        self.hits: Counter[str] = Counter()
        self.misses: Counter[str] = Counter()
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "locks"):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def get(self, kind: str, key: str, make: Callable[[], Mapping[str, Any]]) -> Arrays:
        """The arrays stored as ``kind`` under ``key``; made by ``make``, and stored, when there are none.

        Raises UserError when the entry cannot be written.
        """
        file = self.root / kind / f"{key}.npz"
        found = self._read(file)
        if found is None:
            with self.lock(f"{kind}-{key}"):
                found = self._read(file)  # another process may have finished it meanwhile
                if found is None:
                    self.misses[kind] += 1
                    made = {name: np.asarray(array) for name, array in make().items()}
                    self._write(file, made)
                    return made
        self.hits[kind] += 1
        return found

    def lock_file(self, name: str) -> Path:
        """The file of the lock of this name: one process holds it at a time, and none once that process is gone."""
        return self.root / "locks" / f"{name}.lock"

    @contextmanager
    def lock(self, name: str) -> Iterator[FileLock]:
        """Hold the lock of this name, waiting for whoever has it. Raises UserError where no lock can be had."""
        lock = FileLock(self.lock_file(name))
        try:
            lock.acquire()
        except OSError as error:  # no space for its file, no permission, or a file system without locks
            raise self._unwritable(error) from error
        try:
            yield lock
        finally:
            lock.release()

    def _read(self, file: Path) -> Arrays | None:
        try:
            with file.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            return None
        except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
            _log.warning("store: %s is damaged (%s) and is made again", file, error)
            return None

    def _write(self, file: Path, arrays: Arrays) -> None:
        # The lock is held: nobody else writes this file, and one left behind by a killed process is overwritten.
        temporary = file.with_name(f".{file.name}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as handle:
                    np.savez(handle, allow_pickle=False, **arrays)
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
