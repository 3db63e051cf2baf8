"""A sample of DREBIN's own feature space: 1,000 apps (47 malware), 545,334 columns, published with the SecML model zoo.

Too small for a study: it shows that data of that shape passes through. Without feature names.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from transfer_exp.data.binary import binary_dataset
from transfer_exp.data.loaders import remembered
from transfer_exp.data.sparse import csr_points
from transfer_exp.system.npz import read_npz
from transfer_exp.types import Dataset, Ints, Sizes, UserError

_PARTS = ("data", "indices", "indptr", "shape")
_POINTS, _LABELS = "drebin_red_1000x545334_csr.npz", "drebin_red_1000_labels.csv"


def _find(folder: Path, name: str) -> Path:
    places = (folder / "drebin" / "feature_vectors", folder / "drebin", folder)
    for place in places:
        if (place / name).is_file():
            return place / name
    raise UserError(
        f"DREBIN sample: expected {name} in one of {', '.join(map(str, places))}, found it in none; put it there, or set "
        "paths.data or TRANSFER_EXP_DATA"
    )


def _points(file: Path) -> sp.csr_array:
    try:
        parts = read_npz(file, ("format", *_PARTS))
        if parts["format"].item() not in (b"csr", "csr"):
            raise ValueError(f"format {parts['format'].item()!r}, not csr")
        data, *others = (parts[name] for name in _PARTS)
        return csr_points(data.astype(np.float64), *others)
    except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
        raise UserError(f"{file}: expected a sparse matrix saved by scipy, got: {error}; copy it again") from error


def _labels(file: Path, n_points: int) -> Ints:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.reader(lines) if row]
    if not rows or rows[0] != ["row", "label"]:
        raise UserError(f"{file}: expected the header row,label, got {','.join(rows[0]) if rows else 'an empty file'}")
    known = {row[0]: row[1] for row in rows[1:] if len(row) == 2}
    labels = [known.get(str(i)) for i in range(n_points)]
    if len(rows) - 1 != n_points or not set(labels) <= {"0", "1"}:
        raise UserError(f"{file}: expected one label 0 or 1 for each row 0..{n_points - 1}, got {len(rows) - 1} entries")
    return np.array([label == "1" for label in labels], dtype=np.int64)


@remembered
def load_drebin_sample(*, name: str, folder: str, split: Sizes, n_features: int | None = None) -> Dataset:
    """Read the sample. Raises UserError on missing or damaged files, and on values other than 0 and 1.

    n_features: as ``Dataset.n_selected``.
    """
    x = _points(_find(Path(folder), _POINTS))
    y = _labels(_find(Path(folder), _LABELS), int(x.shape[0]))
    return binary_dataset(name=name, x=x, y=y, split=split, n_selected=n_features)
