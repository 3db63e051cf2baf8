"""Source of modules outside the package: where it lies, what it imports, whether it is what was loaded. Runs none of it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import linecache
import os
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Literal, TypeAlias

PACKAGE = Path(__file__).parents[1]
Kind: TypeAlias = Literal["package", "python", "library", "own", "cell", "unknown"]
_BEGIN = time.time()
_STANDARD = tuple({str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib")})


class NoSource(Exception):  # noqa: N818  (an answer, not a mistake)
    """The source of a class or function is not known for certain; the message says why."""


def digest(content: bytes) -> str:
    """Hex digest of a source."""
    return hashlib.sha256(content).hexdigest()[:16]


@functools.cache
def kind_of(file: str) -> Kind:
    """What a file, or the file name in a function's code, belongs to; ``own``: neither installed nor of this package."""
    if file.startswith("<frozen"):
        return "python"
    path = Path(os.path.abspath(file))  # noqa: PTH100  (no links are followed)
    if path.is_relative_to(PACKAGE):
        return "package"
    if not path.is_file():
        return "cell" if linecache.getlines(file) else "unknown"
    if {"site-packages", "dist-packages"} & set(path.parts):
        return "library"
    return "python" if str(path.resolve()).startswith(_STANDARD) else "own"


def file_of(name: str) -> str | None:
    """The file of a module, found without importing anything; None where it has none, or is none."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
        return os.path.abspath(file) if file else None  # noqa: PTH100
    places, parts = None, name.split(".")
    for k in range(len(parts)):
        if k and places is None:  # of a module that is no package; None would mean all of sys.path
            return None
        spec = PathFinder.find_spec(".".join(parts[: k + 1]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    return spec.origin if spec is not None and spec.has_location else None


@functools.cache
def library_version(top: str) -> str:
    """Version of the installed library that a top-level module belongs to; empty where none is known."""
    for distribution in (top, *_distributions().get(top, ())):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def imported(text: bytes, name: str, *, is_package: bool) -> list[str]:
    """Names of the modules that a source may import, and of the packages they lie in; some name a member of a module."""
    package = name if is_package else name.rpartition(".")[0]
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return sorted({".".join(parts[: k + 1]) for one in names for parts in [one.split(".")] for k in range(len(parts))})


_loaded: dict[str, tuple[object, bytes]] = {}  # by module: its spec (another one after a reload), what it was loaded from


def loaded_text(name: str, file: Path) -> bytes:
    """The source that a module was loaded from; of one that is not loaded, what its file holds.

    Raises NoSource where the file was edited between the import and the first look.
    """
    module = sys.modules.get(name)
    if module is None:
        return file.read_bytes()
    mark = getattr(module, "__spec__", None) or module
    known = _loaded.get(name)
    if known is not None and known[0] is mark:
        return known[1]
    text = file.read_bytes()
    if isinstance(getattr(module, "__loader__", None), SourceFileLoader) and not _was_loaded(module, file, text):
        raise NoSource(f"{file} was edited since it was imported, or may have been")
    _loaded[name] = (mark, text)
    return text


def _was_loaded(module: ModuleType, file: Path, text: bytes) -> bool:
    """Whether the module can have been made of this text: its functions are those of the text, its cached code is as old."""
    if file.suffix != ".py" or module.__name__ == "__main__":  # a script is read and run at once
        return True
    try:
        codes = set(_codes(SourceFileLoader(module.__name__, str(file)).source_to_code(text, str(file))))
    except (SyntaxError, ValueError):
        return False
    members = [v for v in vars(module).values() if getattr(v, "__module__", None) == module.__name__]
    functions = [v for v in members if isinstance(v, FunctionType)]
    functions += [function for v in members if isinstance(v, type) for function in functions_of(v)]
    if any(f.__code__ not in codes for f in functions if f.__code__.co_filename == str(file)):
        return False
    return not _is_newer_than_its_code(module, file)


def _is_newer_than_its_code(module: ModuleType, file: Path) -> bool:
    """Whether the file is not the one that Python made the module's cached code of (by time and size, PEP 552).

    Without cached code: whether it was written since this process began.
    """
    cached, now = getattr(module.__spec__, "cached", None), file.stat()
    if not cached or not Path(cached).is_file():
        return now.st_mtime > _BEGIN
    header = Path(cached).read_bytes()[:16]
    by_time = not any(header[4:8])
    stamp = [int(n) & 0xFFFFFFFF for n in (now.st_mtime, now.st_size)]
    return by_time and [int.from_bytes(header[k : k + 4], "little") for k in (8, 12)] != stamp


def functions_of(kind: type) -> Iterator[FunctionType]:
    """Functions of a class's own body, without what wraps them and without those that dataclasses write."""
    for value in vars(kind).values():
        one = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        one = getattr(one, "func", one)  # functools.cached_property
        one = inspect.unwrap(one) if callable(one) else one
        if isinstance(one, FunctionType) and not _is_generated(one.__code__):
            yield one


def _is_generated(code: CodeType) -> bool:
    return code.co_filename == "<string>" and code.co_name.startswith("__")


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and all within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def global_names(code: CodeType) -> set[str]:
    """Names of the module's own, or built-in, things that a function speaks of."""
    import dis

    found: set[Any] = set()
    for one in _codes(code):
        found |= {i.argval for i in dis.get_instructions(one) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return found
