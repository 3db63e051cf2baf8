"""Drebin-215 (Yerima, Sezer, 2019): 15,036 Android apps, 215 binary features, openly available (CC BY 4.0).

Half of the rows equal an earlier row: equal rows form a group, and a group stays in one part of a split. Rows that occur
with both labels contradict each other and are dropped, all of them. A cell ``?`` (five in the published file) counts
as 0, feature not seen: so it stands in another copy in circulation.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from transfer_exp.data.binary import binary_dataset
from transfer_exp.data.loaders import remembered
from transfer_exp.types import Dataset, Ints, Sizes, UserError

_FILE = "drebin-215-dataset-5560malware-9476-benign.csv.gz"
_LABELS = ("S", "B")


def _find(folder: Path) -> Path:
    for file in (folder / "drebin" / _FILE, folder / _FILE):
        if file.is_file():
            return file
    raise UserError(
        f"Drebin-215: expected {_FILE} in {folder / 'drebin'} or {folder}, found it in neither; the table is published on "
        "figshare as 'Android malware dataset for machine learning 2' (5854653): compress it with gzip and put it there, or "
        "set paths.data or TRANSFER_EXP_DATA"
    )


def _table(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, keep_default_na=False, na_values=["?"], low_memory=False)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(
            f"{file}: expected a gzip-compressed CSV table, got a damaged file ({error}); copy it again"
        ) from error
    if table.shape[1] < 2 or table.columns[-1] != "class":
        raise UserError(f"{file}: expected feature columns and a last column 'class', got the columns {list(table)[-3:]}")
    if table.empty:
        raise UserError(f"{file}: expected rows under the header, got none; copy it again")
    return table


def _labels(file: Path, column: pd.Series) -> Ints:
    unknown = sorted(set(column.astype(str)) - set(_LABELS))
    if unknown:
        raise UserError(f"{file}: expected S (malware) or B (benign) in column 'class', got {unknown[:3]}")
    return np.asarray(column == "S", dtype=np.int64)


def _cells(file: Path, table: pd.DataFrame) -> npt.NDArray[np.uint8]:
    cells = np.zeros(table.shape, dtype=np.uint8)
    for k, (feature, column) in enumerate(table.items()):
        numbers = pd.to_numeric(column, errors="coerce")
        wrong = ~numbers.isin([0, 1]) & column.notna()
        if wrong.any():
            row = int(np.argmax(wrong))
            raise UserError(
                f"{file}: expected 0, 1 or ? in every cell, got {str(column[row])!r} in column {feature}, row {row} "
                "(the first after the header is row 0)"
            )
        cells[:, k] = numbers == 1
    return cells


def group_equal(rows: npt.NDArray[np.uint8]) -> Ints:
    """A number for each row ``(n,)``, the same for equal rows of ``(n, d)`` zeros and ones."""
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))
    _, group = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_inverse=True)
    return np.asarray(group, dtype=np.int64)


@remembered
def load_drebin215(*, name: str, folder: str, split: Sizes, n_features: int | None = None) -> Dataset:
    """Read the table. Raises UserError on a missing or damaged file, or cells other than 0, 1 and ``?``.

    notes: ``unknown_cells`` set to 0, ``distinct_vectors`` before dropping, ``contradictory_vectors`` and their
    ``contradictory_rows`` dropped, ``duplicate_rows`` kept that equal an earlier row. n_features: as
    ``Dataset.n_selected``.
    """
    file = _find(Path(folder))
    table = _table(file)
    y = _labels(file, table["class"])
    cells = _cells(file, table.drop(columns="class"))
    group = group_equal(cells)
    n_groups = int(group.max()) + 1
    n_malware = np.bincount(group[y == 1], minlength=n_groups)
    contradictory = (n_malware > 0) & (n_malware < np.bincount(group))
    kept = ~contradictory[group]
    return binary_dataset(
        name=name,
        x=sp.csr_array(cells[kept].astype(np.float64)),
        y=y[kept],
        split=split,
        group=group[kept],
        n_selected=n_features,
        notes={
            "unknown_cells": int(table.isna().to_numpy().sum()),
            "distinct_vectors": n_groups,
            "contradictory_vectors": int(contradictory.sum()),
            "contradictory_rows": int((~kept).sum()),
            "duplicate_rows": int(kept.sum() - (~contradictory).sum()),
        },
    )
