"""Code from outside the package, by what it was read from: two classes of one name are told apart, an edited one is another.

    a class or function of a file   the file, and the user's own modules that it imports, directly or through others
    one of a notebook               the cells of its functions, and what these use of other cells
    a library that these import     its version; the file, too, of a class that lies in a library

Imports are read from the source, those within functions too. What is imported by a computed name is not seen, nor a file of
data that the code reads. Where the source is not known for certain (executed text, a class made within a function, a file
edited since it was imported), there is none, and NoSource says why.
"""

from __future__ import annotations

import linecache
import logging
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from transfer_exp.signature.modules import (
    PACKAGE,
    NoSource,
    digest,
    file_of,
    functions_of,
    global_names,
    imported,
    kind_of,
    library_version,
    loaded_text,
)

FITTING = {"sklearn": "scikit-learn", "torch": "torch", "scipy": "scipy", "numpy": "numpy"}
"""Libraries that fit and compute, by module: their versions are a part of every ``signature.code_version``."""
_PLAIN = (bool, int, float, str, tuple, list, dict)


def origin(thing: Any) -> dict[str, Any]:
    """What a class or function from outside the package consists of: digests, versions and values by name.

    Empty for one of the package. Raises NoSource.
    """
    reader = _Reader(thing.__module__.split(".")[0])
    reader.add(thing, "")
    return reader.found


def still_so(name: str, value: object) -> bool | None:
    """Whether an entry that ``origin`` gave for a module or library holds for what lies here now; None: not known."""
    kind, _, what = name.partition(" ")
    if kind == "library":
        return library_version(what) == value
    file = file_of(what) if kind == "module" and what != "__main__" else None
    return digest(Path(file).read_bytes()) == value if file and Path(file).is_file() else None


class _Reader:
    """Collects what one class or function consists of; ``top``: the top-level module that it lies in."""

    def __init__(self, top: str) -> None:
        self.found: dict[str, Any] = {}
        self._top = top
        self._seen: set[int] = set()

    def add(self, thing: Any, name: str) -> None:
        """A class, a function, or whatever else the code of a cell calls ``name``."""
        if id(thing) in self._seen or isinstance(thing, logging.Logger):
            return
        self._seen.add(id(thing))
        if isinstance(thing, type):
            for base in thing.__mro__:
                self._add_class(base)
        elif isinstance(thing, FunctionType):
            self._add_function(thing)
        elif isinstance(thing, ModuleType):
            self._add_module(thing.__name__)
        elif callable(thing) and _is_installed(thing):
            self._add_library(thing.__module__.split(".")[0])
        else:
            self.found[f"value {name}"] = thing

    def _add_class(self, kind: type) -> None:
        file = file_of(kind.__module__)
        if file is None:
            if kind.__module__.split(".")[0] not in sys.stdlib_module_names:
                self._add_class_of_cells(kind)
            return
        of = kind_of(file)
        if of == "own" and _resolved(kind.__module__, kind.__qualname__) is not kind:
            raise NoSource("it is not what its module holds under this name: made within a function, or of before a reload")
        if of in ("own", "library"):
            self._add_module(kind.__module__)
        if of in ("own", "package"):
            for function in functions_of(kind):
                if kind_of(function.__code__.co_filename) != "package":  # in a class of the package: put there
                    self._add_function(function)

    def _add_class_of_cells(self, kind: type) -> None:
        functions = list(functions_of(kind))
        if "<locals>" in kind.__qualname__:
            raise NoSource("it was made within a function")
        if not functions:
            raise NoSource("it has neither a file nor a function that would tell its cell")
        for function in functions:
            self._add_function(function)
        for name, value in vars(kind).items():
            if isinstance(value, type) or (isinstance(value, _PLAIN) and not name.startswith("__")):
                self.add(value, f"{kind.__qualname__}.{name}")

    def _add_function(self, function: FunctionType) -> None:
        code, of = function.__code__, kind_of(function.__code__.co_filename)
        if of in ("package", "python", "library"):
            return
        if of == "own":
            is_new = f"module {function.__module__}" not in self.found
            self._add_module(function.__module__)
            if is_new and "<locals>" in function.__qualname__:
                raise NoSource(f"its function {function.__qualname__} was made within another")
            if is_new and "<lambda>" in function.__qualname__:
                raise NoSource("a lambda has no name that tells it from others of its file; define it by def")
            return
        if of == "unknown":
            raise NoSource(f"its function {function.__qualname__} is of no file and no cell")
        if set(code.co_freevars) - {"__class__"}:
            raise NoSource(f"its function {function.__qualname__} was made within another")
        told = f"{function.__module__}.{function.__qualname__}{_told_apart(code)}"
        self.found[f"cell {told}"] = digest("".join(linecache.getlines(code.co_filename)).encode())
        for name in sorted(global_names(code) & set(function.__globals__)):
            self.add(function.__globals__[name], name)
        for place, value in enumerate([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]):
            self.add(value, f"{function.__qualname__} {place}")

    def _add_module(self, name: str) -> None:
        """A module, and what it imports: of own modules the own ones, of a library its own; of others the version."""
        file, top = file_of(name), name.split(".")[0]
        of = kind_of(file) if file else "unknown"
        if f"module {name}" in self.found or file is None or of in ("package", "python"):
            return
        if of == "library" and (top != self._top or top in FITTING or not file.endswith(".py")):
            self._add_library(top)
            return
        text = loaded_text(name, Path(file))
        self.found[f"module {name}"] = digest(text)
        for other in imported(text, name, is_package=Path(file).name == "__init__.py"):
            self._add_module(other)

    def _add_library(self, top: str) -> None:
        if top not in FITTING and top != PACKAGE.name:
            self.found[f"library {top}"] = library_version(top)


def _told_apart(code: CodeType) -> str:
    """Of a lambda, which has no name of its own, a digest of what it does; empty for others."""
    if code.co_name != "<lambda>":
        return ""
    constants = [one for one in code.co_consts if not isinstance(one, CodeType)]
    return " " + digest(repr((code.co_code, code.co_names, constants)).encode())


def _is_installed(thing: Any) -> bool:
    top = str(getattr(thing, "__module__", None) or "").split(".")[0]
    return top in sys.stdlib_module_names or kind_of(file_of(top) or "") == "library"


def _resolved(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
