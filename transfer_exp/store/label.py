"""What an entry says of itself: its kind and key, its arrays, and the code that it was made with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_exp.system.npz import Arrays

LABEL = "made_with"
"""The member of an entry that holds it, as JSON."""


def label_of(kind: str, key: str, arrays: Arrays) -> npt.NDArray[np.uint8]:
    """The label of an entry with these arrays."""
    if LABEL in arrays:
        raise ValueError(f"{LABEL} is the name of an entry's label, not of an array")
    text = {"kind": kind, "key": key, "arrays": _shapes(arrays), "code": getattr(key, "made_with", {})}
    return np.frombuffer(json.dumps(text).encode(), np.uint8)


def read_label(label: npt.NDArray[Any]) -> dict[str, Any]:
    """What ``label_of`` was given. Raises ValueError on anything else."""
    found = json.loads(label.tobytes())
    if not isinstance(found, dict):
        raise ValueError(f"expected a label, got {found!r}")
    return found


def mismatch(label: npt.NDArray[Any] | None, kind: str, key: str, arrays: Arrays) -> str:
    """What is wrong with what lies in an entry's place; empty when it is that entry."""
    if label is None:
        return "is no entry of a store"
    found = read_label(label)
    if (found.get("kind"), found.get("key")) != (kind, key):
        return f"holds another piece ({found.get('kind')} {found.get('key')})"
    return "" if found.get("arrays") == _shapes(arrays) else "holds other arrays than it says"


def _shapes(arrays: Arrays) -> dict[str, list[Any]]:
    return {name: [array.dtype.str, *array.shape] for name, array in arrays.items()}
