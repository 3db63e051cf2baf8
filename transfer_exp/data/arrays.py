"""A user's own data: one ``.npz`` with points, binary labels and, optionally, the box they live in.

Either a dense file (``np.savez(file, X=X, y=y)``) or a CSR matrix saved by its parts
(``np.savez(file, X_data=X.data, X_indices=X.indices, X_indptr=X.indptr, X_shape=X.shape, y=y)``).
Files are read without pickle, so a file can hold nothing but numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Floats, Ints, Matrix, Sizes, UserError

_SPARSE = ("X_data", "X_indices", "X_indptr", "X_shape")


def _read(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    if not file.is_file():
        raise UserError(f"dataset.file: expected a .npz file, got {file}, which is not there")
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except TypeError as error:  # a .npy: an array is no context manager
        raise UserError(f"{file}: expected an .npz of plain arrays (np.savez), got a single array (np.save)") from error
    except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
        raise UserError(f"{file}: expected an .npz of plain arrays (no pickled objects), got: {error}") from error


def _points(file: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> Matrix:
    if "X" in arrays:
        x: Matrix = _numbers(file, "X", arrays["X"])
    elif set(_SPARSE) <= set(arrays):
        data, indices, indptr, shape = (arrays[key] for key in _SPARSE)
        try:
            x = sp.csr_array((_numbers(file, "X_data", data), indices, indptr), shape=(int(shape[0]), int(shape[1])))
            x.check_format()
            x.sum_duplicates()
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(f"{file}: expected the parts of a CSR matrix in {', '.join(_SPARSE)}, got: {error}") from error
    else:
        raise UserError(f"{file}: expected an array X (or {', '.join(_SPARSE)}), got {sorted(arrays) or 'no array'}")
    if x.ndim != 2 or 0 in x.shape:
        raise UserError(f"{file}: expected X of shape (points, features), got {x.shape}")
    return x


def _numbers(file: Path, key: str, array: np.ndarray[Any, Any]) -> Floats:
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise UserError(f"{file}: expected real numbers in {key}, got type {array.dtype}")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise UserError(
            f"{file}: expected finite numbers in {key}, got {np.count_nonzero(~np.isfinite(numbers))} NaN or inf"
        )
    return numbers


def _labels(file: Path, arrays: dict[str, np.ndarray[Any, Any]], n_points: int) -> Ints:
    if "y" not in arrays:
        raise UserError(f"{file}: expected an array y of {n_points} labels, got {sorted(arrays)}")
    y = arrays["y"]
    if y.shape != (n_points,):
        raise UserError(f"{file}: expected y of shape ({n_points},), got {y.shape}")
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        raise UserError(f"{file}: expected two labels in y, got {np.count_nonzero(~np.isfinite(y))} NaN or inf")
    classes = np.unique(y)
    if len(classes) != 2:
        raise UserError(f"{file}: expected two different labels in y, got {len(classes)}: {classes[:5].tolist()}")
    return np.where(y == classes[1], 1, -1)


def _bound(file: Path, arrays: dict[str, np.ndarray[Any, Any]], key: str, default: Floats) -> Floats:
    if key not in arrays:
        return default
    bound = _numbers(file, key, arrays[key])
    if bound.shape not in ((), default.shape):
        raise UserError(f"{file}: expected {key} of shape () or {default.shape}, got {bound.shape}")
    return np.broadcast_to(bound, default.shape).copy()


def _extreme(x: Matrix, which: str) -> Floats:
    values = getattr(x, which)(axis=0)
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64).ravel()


def load_arrays(*, name: str, file: str | None, split: Sizes) -> Dataset:
    """Read the file; the smaller label becomes -1, the larger +1.

    Without ``lower`` or ``upper`` in the file, the box is the range of each feature over all points.
    Raises UserError on anything but two classes of finite points inside the box.
    """
    if file is None:
        raise UserError("dataset.file: expected the path of an .npz with X and y, got none; add dataset.file=PATH")
    path = Path(file).expanduser()
    arrays = _read(path)
    x = _points(path, arrays)
    y = _labels(path, arrays, x.shape[0])
    least, most = _extreme(x, "min"), _extreme(x, "max")
    lower, upper = _bound(path, arrays, "lower", least), _bound(path, arrays, "upper", most)
    outside = np.flatnonzero((least < lower) | (most > upper))
    if len(outside):
        k = outside[0]
        raise UserError(
            f"{path}: expected every point inside the box, got feature {k} from {least[k]:g} to {most[k]:g} "
            f"in [{lower[k]:g}, {upper[k]:g}] ({len(outside)} such features)"
        )
    return Dataset(
        name=name,
        x=x,
        y=y,
        box=Box(lower=lower, upper=upper),
        sizes=split,
        test_pool=np.zeros(len(y), dtype=bool),
        checksum=signature(x=x, y=y, lower=lower, upper=upper),
    )
