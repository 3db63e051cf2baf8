"""A user's own data: one ``.npz`` with points, labels of two or more classes and, optionally, the box they live in.

Either a dense file (``np.savez(file, X=X, y=y)``) or a CSR matrix saved by its parts
(``np.savez(file, X_data=X.data, X_indices=X.indices, X_indptr=X.indptr, X_shape=X.shape, y=y)``).
Files are read without pickle, so a file can hold nothing but numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from transfer_exp.data.classes import Classes, restrict
from transfer_exp.data.groups import equal_rows
from transfer_exp.data.loaders import remembered
from transfer_exp.data.sparse import Array, csr_points
from transfer_exp.signature import signature
from transfer_exp.system.npz import Arrays, member_names, read_npz
from transfer_exp.types import Box, Dataset, Floats, Ints, Matrix, Sizes, UserError

_SPARSE = ("X_data", "X_indices", "X_indptr", "X_shape")
_WANTED = (*_SPARSE, "X", "y", "lower", "upper")
_LARGEST = 1e15  # attacks sum squares of up to a million features in single precision, which ends at 3e38
_MENDED = {
    **dict.fromkeys(("X", "X_data"), "drop these points or fill the gaps"),
    **dict.fromkeys(
        ("lower", "upper"), "leave it out for the range of the points, or save a finite number for each feature"
    ),
}
_TABLES = {".csv": ",", ".tsv": r"\t", ".txt": ","}


def _read(file: Path) -> Arrays:
    if not file.is_file():
        raise UserError(f"dataset.file: expected a .npz file, got {file}, which is not there")
    suffix = file.suffix.lower()
    if suffix in _TABLES:
        raise UserError(
            f"{file}: expected an .npz of arrays X and y, got a table; convert it in Python (labels in the last column): "
            f't = numpy.loadtxt("{file.name}", delimiter="{_TABLES[suffix]}", skiprows=1); '
            f'numpy.savez("{file.stem}.npz", X=t[:, :-1], y=t[:, -1])'
        )
    try:
        with file.open("rb") as handle:
            if handle.read(6) == b"\x93NUMPY":
                raise UserError(f"{file}: expected an .npz of plain arrays (np.savez), got a single array (np.save)")
        return read_npz(file, _WANTED)
    except UserError:
        raise
    except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
        raise UserError(f"{file}: expected an .npz of plain arrays (no pickled objects), got: {error}") from error


def _points(file: Path, arrays: Arrays) -> Matrix:
    if "X" in arrays:
        x: Matrix = _numbers(file, "X", arrays["X"])
    elif set(_SPARSE) <= set(arrays):
        x = _sparse_points(file, *(arrays[key] for key in _SPARSE))
    else:
        raise UserError(
            f"{file}: expected an array X (or {', '.join(_SPARSE)}), got {sorted(member_names(file)) or 'no array'}"
        )
    if x.ndim != 2 or 0 in x.shape:
        raise UserError(f"{file}: expected X of shape (points, features), got {x.shape}")
    return x


def _sparse_points(file: Path, data: Array, indices: Array, indptr: Array, shape: Array) -> sp.csr_array:
    try:
        return _short_indices(file, csr_points(_numbers(file, "X_data", data), indices, indptr, shape))
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise UserError(f"{file}: expected the parts of a CSR matrix in {', '.join(_SPARSE)}, got: {error}") from error


def _short_indices(file: Path, x: sp.csr_array) -> sp.csr_array:
    """The matrix with 32-bit indices, which libsvm and others ask for."""
    most = max(x.nnz, *x.shape)
    if most > np.iinfo(np.int32).max:
        raise UserError(f"{file}: expected fewer than 2^31 points, features and entries in X, got {most}; save a part of it")
    return sp.csr_array((x.data, x.indices.astype(np.int32), x.indptr.astype(np.int32)), shape=x.shape)


def _numbers(file: Path, key: str, array: Array) -> Floats:
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise UserError(f"{file}: expected real numbers in {key}, got type {array.dtype}")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        n_wrong = np.count_nonzero(~np.isfinite(numbers))
        raise UserError(f"{file}: expected finite numbers in {key}, got {n_wrong} NaN or inf; {_MENDED[key]}")
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest > _LARGEST:
        raise UserError(
            f"{file}: expected numbers up to {_LARGEST:g} in {key}, got {largest:g} (squares would overflow in single "
            "precision); save such features in a larger unit, or their logarithms"
        )
    return numbers


def _labels(file: Path, arrays: Arrays, n_points: int) -> tuple[Ints, list[str]]:
    """A class number for each point, and the classes' names: the labels in ascending order."""
    if "y" not in arrays:
        raise UserError(f"{file}: expected an array y of {n_points} labels, got {sorted(member_names(file))}")
    y = arrays["y"]
    if y.shape != (n_points,):
        raise UserError(f"{file}: expected y of shape ({n_points},), got {y.shape}")
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        raise UserError(f"{file}: expected a class for each point in y, got {np.count_nonzero(~np.isfinite(y))} NaN or inf")
    labels, numbers = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise UserError(f"{file}: expected two or more different labels in y, got {len(labels)}: {labels[:5].tolist()}")
    return numbers.astype(np.int64), [_name(label) for label in labels]


def _name(label: Any) -> str:
    """Text of a label; whole numbers without a point."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return str(label).removesuffix(".0") if isinstance(label, np.floating) else str(label)


def _bound(file: Path, arrays: Arrays, key: str, default: Floats) -> Floats:
    if key not in arrays:
        return default
    bound = _numbers(file, key, arrays[key])
    if bound.shape not in ((), default.shape):
        raise UserError(f"{file}: expected {key} of shape () or {default.shape}, got {bound.shape}")
    return np.broadcast_to(bound, default.shape).copy()


def _extreme(x: Matrix, which: str) -> Floats:
    values = getattr(x, which)(axis=0)
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64).ravel()


@remembered
def load_arrays(*, name: str, file: str | None, split: Sizes, group_equal: bool = True, classes: Classes = None) -> Dataset:
    """Read the file; its labels in ascending order become the classes 0, 1, ...

    classes: only points with these labels, numbered in this order; None: all. Without ``lower`` or ``upper`` in the file,
    the box is the range of each feature over these points. ``group_equal``: equal rows stay in one part of a split; the note
    ``duplicate_rows`` counts those that equal an earlier one.
    Raises UserError on anything but finite points of two or more classes inside the box.
    """
    if file is None:
        raise UserError("dataset.file: expected the path of an .npz with X and y, got none; add dataset.file=PATH")
    path = Path(file).expanduser()
    arrays = _read(path)
    x = _points(path, arrays)
    numbers, names = _labels(path, arrays, x.shape[0])
    kept, y, class_names = restrict(numbers, names, classes)
    x = x if kept.all() else x[kept]
    lower, upper = _box(path, arrays, x)
    group = equal_rows(x)
    n_duplicates = len(group) - 1 - int(group.max())
    return Dataset(
        name=name,
        x=x,
        y=y,
        class_names=class_names,
        box=Box(lower=lower, upper=upper),
        sizes=split,
        test_pool=np.zeros(len(y), dtype=bool),
        checksum=signature(x=x, y=y, lower=lower, upper=upper),
        group=group if group_equal and n_duplicates else None,
        notes={"duplicate_rows": n_duplicates},
    )


def _box(path: Path, arrays: Arrays, x: Matrix) -> tuple[Floats, Floats]:
    """Lower and upper bounds ``(d,)``, which all points keep."""
    least, most = _extreme(x, "min"), _extreme(x, "max")
    lower, upper = _bound(path, arrays, "lower", least), _bound(path, arrays, "upper", most)
    outside = np.flatnonzero((least < lower) | (most > upper))
    if len(outside):
        k = outside[0]
        raise UserError(
            f"{path}: expected every point inside the box, got feature {k} from {least[k]:g} to {most[k]:g} "
            f"in [{lower[k]:g}, {upper[k]:g}] ({len(outside)} such features)"
        )
    return lower, upper
