"""A database that may only be read: MLflow and sqlite's write-ahead log need one that can be written, so it is copied."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote


def readable_copy(file: Path) -> Path:
    """The same database in a temporary folder, which lasts as long as this process; made once for each state of the file."""
    status = file.stat()
    return Path(_copy(file, status.st_size, status.st_mtime_ns).name) / file.name


@lru_cache(maxsize=2)
def _copy(file: Path, _size: int, _changed: int) -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="transfer_exp.")
    copy = Path(folder.name, file.name)
    try:
        _back_up(file, copy)
    except sqlite3.Error:
        # sqlite cannot make the index of a write-ahead log that it may only read: then nobody else has the database open.
        copy.unlink(missing_ok=True)
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
    return folder


def _back_up(file: Path, copy: Path) -> None:
    """One consistent state, also while somebody writes to the file."""
    address = f"file:{quote(str(file))}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
