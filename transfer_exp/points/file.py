"""The file of points: an ``.npz`` of plain arrays, read without pickle.

    points       (E, n, d), one block an epsilon, or (n, d) at one; of poisoning (n, d), in the order in which they are added
    labels       (n,) class indices, or class names; of poisoning the (other) classes that the points are learned with
    epsilon      (E,) strengths; of poisoning the shares of poisoning points in the training data
    clean        (n, d), the points before; of poisoning the starts                                          not needed
    class_names  (K,) text: what the class indices mean                                                      not needed
    kind         text, evasion (where it is absent) or poisoning                                             not needed
    rows         (n,) rows of the data set that the clean points are                                         not needed
    columns      (d,) features of the data set that the points have, where a repetition chose some           not needed
    shape        of one point, as an image has it                                                            not needed
    about        JSON text: where the points come from (``docs/points.md``)                                  not needed

What is not needed may be missing in files that others made. Numbers keep their exact value: points are written in the
smallest type that holds each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from transfer_exp.system.npz import Arrays, member_names, read_npz
from transfer_exp.types import Floats, Ints, UserError

Kind: TypeAlias = Literal["evasion", "poisoning"]
_NEEDED = ("points", "labels")
_KNOWN = (*_NEEDED, "epsilon", "clean", "class_names", "kind", "rows", "columns", "shape", "about")


@dataclass(frozen=True, kw_only=True)
class PointsFile:
    """What a file of points holds (the arrays above); labels are numbers, or texts in files of others."""

    points: Floats
    labels: Any
    epsilon: Floats
    kind: Kind = "evasion"
    clean: Floats | None = None
    class_names: tuple[str, ...] = ()
    rows: Ints | None = None
    columns: Ints | None = None
    shape: tuple[int, ...] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def write(file: Path, content: PointsFile) -> None:
    """Write a file of points. Raises UserError where that is not possible."""
    arrays: dict[str, Any] = {
        "points": compact(content.points),
        "labels": np.asarray(content.labels),
        "epsilon": content.epsilon,
        "class_names": np.array(content.class_names, dtype=np.str_),
        "kind": np.array(content.kind),
        "about": np.array(json.dumps(content.about, ensure_ascii=False)),
    }
    arrays["clean"] = None if content.clean is None else compact(content.clean)
    arrays |= {"rows": content.rows, "columns": content.columns}
    arrays["shape"] = None if content.shape is None else np.array(content.shape, dtype=np.int64)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as handle:
                there = {name: array for name, array in arrays.items() if array is not None}
                np.savez_compressed(handle, allow_pickle=False, **there)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"out: expected to be able to write {file}, got {error.strerror or error}") from error


def compact(values: Floats) -> np.ndarray[Any, Any]:
    """The same numbers in the smallest of uint8, float32 and float64 that holds every one exactly."""
    if values.size and values.min() >= 0 and values.max() <= np.iinfo(np.uint8).max:
        small = values.astype(np.uint8)
        if np.array_equal(small, values):
            return small
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    return single if np.array_equal(single, values) else values.astype(np.float64)


def read(file: str | Path) -> PointsFile:
    """Read a file of points, checked as far as it can be without the data. Raises UserError on anything else."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"points: expected an .npz of points, got {path}, which is not there")
    try:
        found = read_npz(path, _KNOWN)
        names = member_names(path)
    except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
        raise UserError(f"{path}: expected an .npz of plain arrays (no pickled objects), got: {error}") from error
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise UserError(f"{path}: expected arrays points and labels, got {', '.join(sorted(names)) or 'none'}")
    kind = _text(path, found, "kind", "evasion")
    if kind not in get_args(Kind):
        raise UserError(f"{path}: expected kind {' or '.join(get_args(Kind))}, got {kind!r:.40}")
    labels = found["labels"]
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iufUS":
        raise UserError(f"{path}: expected one label a point, (n,) numbers or names, got {labels.dtype} {labels.shape}")
    points = _numbers(path, found, "points")
    return PointsFile(
        points=points,
        labels=labels,
        epsilon=_strengths(path, found, points, len(labels), cast(Kind, kind)),
        kind=cast(Kind, kind),
        clean=_numbers(path, found, "clean") if "clean" in found else None,
        class_names=tuple(map(str, found["class_names"].ravel())) if "class_names" in found else (),
        rows=_whole(path, found, "rows"),
        columns=_whole(path, found, "columns"),
        shape=None if "shape" not in found else tuple(int(k) for k in found["shape"].ravel()),
        about=_about(path, found),
    )


def _numbers(path: Path, found: Arrays, name: str) -> Floats:
    array = found[name]
    if array.dtype.kind not in "biuf" or array.ndim < 2 or not array.size:
        raise UserError(f"{path}: expected real numbers (n, d) or (E, n, d) in {name}, got {array.dtype} {array.shape}")
    values = np.asarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"{path}: expected finite numbers in {name}, got {np.count_nonzero(~np.isfinite(values))} others")
    return values


def _strengths(path: Path, found: Arrays, points: Floats, n: int, kind: Kind) -> Floats:
    """The epsilons ``(E,)``; NaN, one, where points at one strength do not tell it."""
    if "epsilon" not in found:
        if kind == "poisoning" or (len(points) != n and points.shape[1] == n and len(points) > 1):
            raise UserError(f"{path}: expected an array epsilon, one strength a block of points, got none")
        return np.array([np.nan])
    epsilon = found["epsilon"].ravel()
    if epsilon.dtype.kind not in "iuf" or not len(epsilon) or not (np.isnan(epsilon) | (epsilon >= 0)).all():
        raise UserError(f"{path}: expected strengths >= 0 in epsilon, got {epsilon[:5].tolist()}")
    return np.asarray(epsilon, dtype=np.float64)


def _whole(path: Path, found: Arrays, name: str) -> Ints | None:
    if name not in found:
        return None
    if found[name].dtype.kind not in "iu" or found[name].ndim != 1:
        raise UserError(f"{path}: expected whole numbers (n,) in {name}, got {found[name].dtype} {found[name].shape}")
    return np.asarray(found[name], dtype=np.int64)


def _text(path: Path, found: Arrays, name: str, default: str) -> str:
    if name not in found:
        return default
    if found[name].dtype.kind != "U" or found[name].size != 1:
        raise UserError(f"{path}: expected one text in {name}, got {found[name].dtype} {found[name].shape}")
    return str(found[name].ravel()[0])


def _about(path: Path, found: Arrays) -> dict[str, Any]:
    text = _text(path, found, "about", "{}")
    try:
        about = json.loads(text)
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise UserError(f"{path}: expected a JSON object in about, got {text!r:.60}")
    return about
