"""Which rows of a data set a given model was trained on, where the user knows it: no other part of a split has them.

target_rows=rows.txt    a text file of row numbers, from 0: the target's part of every split
target_rows=none        the target has seen none of these data: its part is empty, the attacker may have the rest
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from transfer_exp.signature import checksum
from transfer_exp.types import Dataset, Ints, UserError, counted

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class KnownTarget(Dataset):
    """A data set of which is known which rows ``(m,)`` the target was trained on; none where it has seen no row."""

    target_rows: Ints

    @property
    def in_words(self) -> str:
        """The rows for the record: how many, and a digest."""
        n = len(self.target_rows)
        return f"{counted(n, 'row')}, {checksum(self.target_rows)[:12]}" if n else NONE


def with_target_rows(dataset: Dataset, said: str | None) -> Dataset:
    """The data set and what the user says of the target's training data: a file, ``none``, or nothing (None).

    Raises UserError on a file that does not hold row numbers.
    """
    if said is None:
        return dataset
    rows = np.zeros(0, dtype=np.int64) if said == NONE else _read(Path(said).expanduser(), len(dataset.y))
    own = {f.name: getattr(dataset, f.name) for f in fields(Dataset)}
    return KnownTarget(**own, target_rows=rows)


def target_rows(dataset: Dataset) -> Ints | None:
    """The rows that the target was trained on, ascending; None where that is not known."""
    return dataset.target_rows if isinstance(dataset, KnownTarget) else None


def _read(file: Path, n_rows: int) -> Ints:
    expected = "target_rows: expected a text file of row numbers, from 0, or none (the target has seen no row)"
    if not file.is_file():
        raise UserError(f"{expected}, got {file}, which is not there")
    try:
        rows = np.unique(np.array(file.read_text(encoding="utf-8").replace(",", " ").split(), dtype=np.int64))
    except (ValueError, OverflowError) as error:
        raise UserError(f"{expected}, got in {file}: {error}") from error
    outside = rows[(rows < 0) | (rows >= n_rows)]
    if not len(rows) or len(outside):
        got = f"row {outside[0]} of {n_rows}" if len(outside) else "no number"
        raise UserError(f"{expected}, got {got} in {file}")
    return rows
