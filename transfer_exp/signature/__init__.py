"""Identity of a piece of work: a hash of everything it depends on, and of nothing else.

Code of the package counts by its files (``code_version``), code from outside by what ``outside`` finds of it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import re
import secrets
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any, get_args, get_type_hints

import numpy as np
import scipy.sparse as sp

from transfer_exp.signature.modules import NoSource
from transfer_exp.signature.outside import FITTING, origin, still_so

_PACKAGE = Path(__file__).parents[1]
_log = logging.getLogger(__name__)


class CodeVersion(str):
    """A digest of source, and the ``rooms`` that it is of."""

    rooms: tuple[str, ...]
    __slots__ = ("rooms",)


class Key(str):
    """A digest. ``made_with``: what code it stands for, by name; ``storable``: False where a part of that is unknown."""

    made_with: dict[str, str]
    storable: bool
    __slots__ = ("made_with", "storable")


def signature(**parts: Any) -> Key:
    """Hex digest of the named parts.

    A dataclass counts by the name of its class and module, the source of that class where it is from outside the package,
    and its fields, less those declared with ``compare=False`` (a display name, say); a whole number in a field of floats
    counts as a float; an array by shape, type and bytes; a class or function by name and source, with the arguments that
    ``functools.partial`` binds.
    Where a source is not known, the digest is one that never comes again, and not ``storable``.
    Raises TypeError for anything else that JSON cannot hold.
    """
    signer = _Signer()
    text = json.dumps(signer.plain(parts), sort_keys=True, allow_nan=True)
    key = Key(hashlib.sha256(text.encode()).hexdigest()[:32])
    key.made_with, key.storable = signer.made_with, signer.storable
    return key


class _Signer:
    """Turns parts into what JSON holds, and notes the code that they stand for."""

    def __init__(self) -> None:
        self.made_with: dict[str, str] = {}
        self.storable = True

    def plain(self, value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        if isinstance(value, np.ndarray | sp.csr_array):
            return {"array": checksum(value)}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, functools.partial):
            return {**self.plain(value.func), "arguments": self.plain([value.args, value.keywords])}
        if isinstance(value, type | FunctionType | BuiltinFunctionType) and isinstance(value.__module__, str):
            return {"callable": _named(value), "source": self._source(value)}
        if isinstance(value, dict):
            return {str(k): self.plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(v) for v in value]
        if value is None or isinstance(value, bool | int | float | str):
            self._note(value)
            return value
        if callable(value):
            named = value if hasattr(value, "__qualname__") else type(value)
            return {"callable": self._unknown(named, "it is called with an object, and what that holds is not known")}
        raise TypeError(f"cannot sign a {type(value).__name__}")

    def _dataclass(self, value: Any) -> dict[str, Any]:
        declared = dataclasses.fields(value)
        kind: Any = type(value)
        hints = _hints(kind)
        values = {f.name: _as_declared(getattr(value, f.name), hints.get(f.name)) for f in declared if f.compare}
        source = self._source(type(value))
        if source is not None:  # a class of others may set attributes that it does not declare
            values |= {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in {f.name for f in declared}}
        return {"type": _named(type(value)), "source": source, **{k: self.plain(v) for k, v in values.items()}}

    def _source(self, kind: Any) -> str | None:
        """Digest of a class or function from outside the package, None for one of it; a new one each time if not known."""
        try:
            parts = {name: self.plain(value) for name, value in origin(kind).items()}
        except (NoSource, TypeError, RecursionError) as why:
            return self._unknown(kind, str(why))
        self.made_with |= {name: value if isinstance(value, str) else _digest(value) for name, value in parts.items()}
        return _digest(parts) if parts else None

    def _unknown(self, kind: Any, why: str) -> str:
        self.storable = False
        _warn_once(_named(kind), why)
        return secrets.token_hex()

    def _note(self, value: Any) -> None:
        if isinstance(value, CodeVersion):
            self.made_with[f"code {' '.join(value.rooms)}"] = str(value)
        elif isinstance(value, Key):
            self.made_with |= value.made_with
            self.storable &= value.storable


@functools.lru_cache(maxsize=1000)
def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except (NameError, TypeError, AttributeError):  # of a class of others: names that are known to type checkers only
        return {}


def _as_declared(value: Any, hint: Any) -> Any:
    """A whole number in a field of floats as the float that it means there, so that C=1 and C=1.0 are one key."""
    inner = get_args(hint)
    if type(value) is int and (hint is float or (float in inner and int not in inner)):
        return float(value)
    if isinstance(value, list | tuple) and float in inner and int not in inner:
        return [float(one) if type(one) is int else one for one in value]
    return value


def _named(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def _warn_once(name: str, why: str) -> None:
    _log.warning(
        "%s has no known source (%s): nothing that it makes is stored, and its runs are made anew each time", name, why
    )


def sources(things: Iterable[Any]) -> dict[str, str]:
    """Tags ``source/<module.name>`` of the classes and functions that come from outside the package: digests, or unknown."""
    found = {}
    for thing in things:
        if not thing.__module__.startswith(f"{_PACKAGE.name}."):
            try:
                value = _digest({name: _Signer().plain(part) for name, part in origin(thing).items()})
            except (NoSource, TypeError, RecursionError):
                value = "unknown"
            found[f"source/{re.sub(r'[^A-Za-z0-9_./-]', '_', _named(thing))}"] = value
    return found


def is_current(made_with: dict[str, str]) -> bool | None:
    """Whether code of these versions is what lies here now; None where that cannot be known (cells of a notebook)."""
    answers = [_is_current(name, value) for name, value in made_with.items()]
    return False if False in answers or not answers else None if None in answers else True


def _is_current(name: str, value: str) -> bool | None:
    kind, _, rooms = name.partition(" ")
    if kind != "code":
        return still_so(name, value)
    try:
        return code_version(*rooms.split()) == value
    except OSError:  # a room that is no more
        return False


@functools.lru_cache(maxsize=1000)
def _file_digest(file: str, size: int, changed: int) -> str:
    del size, changed  # parts of the key: a file that was written again is read again
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]


def file_checksum(file: str | Path) -> str:
    """Hex digest of a file's content. Raises OSError where it cannot be read."""
    about = Path(file).stat()
    return _file_digest(str(Path(file).absolute()), about.st_size, about.st_mtime_ns)


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
def code_version(*rooms: str) -> CodeVersion:
    """Hex digest of the source of the named files and folders of the package, and of the versions of what computes.

    A change there counts, and so does another scikit-learn, torch, scipy or numpy.
    """
    digest = hashlib.sha256(json.dumps(library_versions()).encode())
    for room in rooms:
        path = _PACKAGE / room
        files: Sequence[Path] = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            digest.update(file.relative_to(_PACKAGE).as_posix().encode() + file.read_bytes())
    found = CodeVersion(digest.hexdigest()[:16])
    found.rooms = rooms
    return found


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that fit and compute."""
    return {name: version(name) for name in FITTING.values()}
