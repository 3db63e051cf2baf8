"""What lies in a store: entries by kind, those that no key of today's code leads to, what killed processes left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from transfer_exp.signature import is_current
from transfer_exp.store.label import LABEL, read_label
from transfer_exp.system.locks import Timeout, acquire, release
from transfer_exp.system.npz import read_npz


@dataclass
class Part:
    """Entries of one kind: bytes of each file.

    ``stale``: no key of today's code leads to it; ``unknown``: whether one does cannot be known here.
    """

    current: dict[Path, int] = field(default_factory=dict)
    stale: dict[Path, int] = field(default_factory=dict)
    unknown: dict[Path, int] = field(default_factory=dict)

    @property
    def everything(self) -> dict[Path, int]:
        """All of them."""
        return {**self.current, **self.stale, **self.unknown}


def contents(root: Path) -> dict[str, Part]:
    """The entries below ``root`` by kind."""
    found: dict[str, Part] = {}
    known: dict[str, bool | None] = {}
    for file in sorted(root.glob("*/*.npz")):
        code = _code(file)
        text = json.dumps(code, sort_keys=True)
        if text not in known:
            known[text] = is_current(code)
        part = found.setdefault(file.parent.name, Part())
        with suppress(FileNotFoundError):  # another process removes, too
            {True: part.current, False: part.stale, None: part.unknown}[known[text]][file] = file.stat().st_size
    return found


def _code(file: Path) -> dict[str, str]:
    """The code that an entry was made with; empty for what is no entry (or one of before entries had labels)."""
    try:
        return {str(k): str(v) for k, v in read_label(read_npz(file, (LABEL,))[LABEL])["code"].items()}
    except Exception:  # damaged bytes make the readers of zip and npy raise nearly anything
        return {}


def left_behind(root: Path) -> Iterator[Path]:
    """Half-written entries, and locks of entries, of processes that are gone.

    Locks of runs and sweeps stay: by them the next command closes what killed processes left open in MLflow.
    """
    kinds = {folder.name for folder in root.iterdir() if folder.is_dir()}
    for file in sorted([*root.glob("*/.*.npz.tmp"), *root.glob("locks/*.lock")]):
        kind, key = file.parent.name, file.name.removeprefix(".").removesuffix(".npz.tmp")
        if file.suffix == ".lock":
            kind, _, key = file.stem.rpartition("-")
        if kind in kinds and _is_free(root / "locks" / f"{kind}-{key}.lock"):
            yield file


def _is_free(lock_file: Path) -> bool:
    if not lock_file.exists():
        return True
    try:
        lock = acquire(lock_file, blocking=False)
    except (Timeout, OSError):
        return False
    lock.release()
    return True


def remove(root: Path, entry: Path) -> bool:
    """Remove an entry, or what was left behind of one; False where a process is at work on it, or it cannot be removed."""
    kind, key = entry.parent.name, entry.name.removeprefix(".").split(".npz")[0]
    if entry.suffix == ".lock":
        kind, _, key = entry.stem.rpartition("-")
    try:
        lock = acquire(root / "locks" / f"{kind}-{key}.lock", blocking=False)
    except (Timeout, OSError):
        return False
    try:
        entry.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        release(lock)
