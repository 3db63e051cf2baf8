"""The schema of a configuration: the annotations of the classes and functions that it names."""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from transfer_exp.types import UserError

_HYDRA = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


def check_node(values: Mapping[str, Any], where: str) -> None:
    """Validate a ``_target_`` node, recursively, against its target's signature.

    where: its place in the configuration. Raises UserError on a value of another type, an unknown or a missing key.
    """
    hints, parameters = arguments_of(target_of(values, where))
    given = {key: value for key, value in values.items() if key not in _HYDRA}
    named = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    arguments = {name: hints.get(name, Any) for name in named}
    missing = [name for name, one in named.items() if one.default is one.empty and name not in values]
    if missing and not values.get("_partial_") and "_args_" not in values:  # of a partial the caller gives the rest
        raise UserError(f"{where}.{missing[0]}: expected {_words(arguments[missing[0]])}, got none; set it")
    if any(one.kind == one.VAR_KEYWORD for one in parameters.values()):
        given = {key: value for key, value in given.items() if key in named}
    check_values(given, arguments, f"{where}.")
    _check_within(list(values.get("_args_", ())), f"{where}._args_")


def _check_within(value: Any, where: str) -> None:
    """Validate the ``_target_`` nodes in a value, however deep in lists and mappings."""
    if isinstance(value, Mapping) and "_target_" in value:
        check_node(value, where)
    elif isinstance(value, Mapping):
        for key, below in value.items():
            _check_within(below, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for place, below in enumerate(value):
            _check_within(below, f"{where}.{place}")


def target_of(values: Mapping[str, Any], where: str) -> Any:
    """The class or function that a node names. Raises UserError where there is none, or its module cannot be imported."""
    name = values["_target_"]
    hydras = logging.getLogger("hydra.utils")  # it would tell the error on lines of its own
    before, hydras.disabled = hydras.disabled, True
    try:
        return get_object(name)
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(
            f"{where}._target_: expected module.name of a class or function, got {name} ({reason}); modules are looked for "
            "in this folder, in that of --config-dir, and where Python has what is installed"
        ) from error
    finally:
        hydras.disabled = before


@lru_cache(maxsize=1000)
def arguments_of(target: Any) -> tuple[dict[str, Any], Mapping[str, inspect.Parameter]]:
    """The annotations and the parameters of a class or function."""
    is_plain_class = inspect.isclass(target) and not is_dataclass(target)
    try:
        hints = get_type_hints(target.__init__ if is_plain_class else target)
    except (NameError, TypeError, AttributeError):  # code of others: names that are known to type checkers only
        hints = {}
    try:
        return hints, inspect.signature(target).parameters
    except (ValueError, TypeError):  # compiled code that does not tell
        return hints, {"anything": inspect.Parameter("anything", inspect.Parameter.VAR_KEYWORD)}


def check_values(values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str = "") -> None:
    """Raise UserError on the first value that is not of the type its name has in ``hints``, or has none there."""
    for key, value in values.items():
        if key not in hints:
            raise UserError(f"{prefix}{key}: expected one of {', '.join(hints)}, got an unknown key")
        if isinstance(value, Mapping) and "_target_" in value:
            check_node(value, f"{prefix}{key}")
        elif not _fits(value, hints[key]):
            raise UserError(f"{prefix}{key}: expected {_words(hints[key])}, got {value!r}")
        else:
            _check_within(value, f"{prefix}{key}")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin in (tuple, Sequence, list):
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool, types.NoneType):
        return isinstance(value, hint)
    return True  # what the project's own constructors check


def _words(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inner)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (tuple, Sequence, list):
        return f"a list, each {_words(inner[0])}"
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false", types.NoneType: "null"}
    return names.get(hint, str(hint))
