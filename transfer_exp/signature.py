"""Identity of a piece of work: a hash of everything it depends on, and of nothing else."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

_PACKAGE = Path(__file__).parent


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.compare}
        return {"type": type(value).__qualname__, **{k: _plain(v) for k, v in fields.items()}}
    if isinstance(value, np.ndarray | sp.csr_array):
        return {"array": checksum(value)}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot sign a {type(value).__name__}")


def signature(**parts: Any) -> str:
    """Hex digest of the named parts.

    A dataclass counts by its class name and its fields, less those declared with ``compare=False`` (a
    display name, say); an array by shape, type and bytes. Raises TypeError for anything else that JSON cannot hold.
    """
    text = json.dumps(_plain(parts), sort_keys=True, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def checksum(array: Any) -> str:
    """Hex digest of an array's shape, type and bytes; a CSR matrix counts by its three arrays."""
    digest = hashlib.sha256()
    parts = (array.data, array.indices, array.indptr) if isinstance(array, sp.csr_array) else (array,)
    digest.update(repr(array.shape).encode())
    for part in map(np.ascontiguousarray, parts):
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(part.data.cast("B") if part.size else b"")
    return digest.hexdigest()[:32]


@functools.cache
def code_version(*rooms: str) -> str:
    """Hex digest of the source of the named files and folders of the package, so that a change there counts."""
    digest = hashlib.sha256()
    for room in rooms:
        path = _PACKAGE / room
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            digest.update(file.relative_to(_PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]
