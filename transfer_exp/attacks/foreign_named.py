"""Attacks by name, ``torchattacks:MIFGSM`` or ``my.module:function``: what is named, how it is called, what it counts by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from types import BuiltinFunctionType, FunctionType
from typing import Any

from transfer_exp.attacks.foreign_calls import LIBRARIES, Caller, Function
from transfer_exp.signature.modules import library_version
from transfer_exp.types import UserError

_EXTRA = "pip install 'transfer-exp[attacks]'"
_INSTALL = {
    # Its requirements (requests 2.25, torchvision) fit neither MLflow nor a CPU-only torch; it needs none of them.
    "torchattacks": "pip install --no-deps torchattacks==3.5.1",
    "foolbox": _EXTRA,
    "art": _EXTRA,
}


def attack_named(name: str) -> Any:
    """The class or function ``module:name``. Raises UserError where there is none, or its library is not installed."""
    module, colon, member = name.partition(":")
    if not (module and colon and member):
        got = name or "none"
        raise UserError(f"attack.attack: expected module:name, torchattacks:MIFGSM or my.module:function say, got {got}")
    top = module.split(".")[0]
    try:
        found: Any = import_module(module)
        for part in member.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name == top and top in _INSTALL:
            raise UserError(f"attack.attack: expected {top} to be installed for {name}; {_INSTALL[top]}") from error
        raise UserError(f"attack.attack: expected a module that can be imported, got {name}: {error}") from error
    except AttributeError as error:
        raise UserError(f"attack.attack: expected a class or function of {module}, got {name}: {error}") from error
    return found


def caller(attack: Any, name: str, options: Mapping[str, Any]) -> Caller:
    """How an attack is called, with its options: classes of a library, or derived from one, as that has it."""
    if not isinstance(attack, type):
        if not isinstance(attack, FunctionType | BuiltinFunctionType | partial):  # of other objects no source is known
            raise UserError(f"attack.attack: expected a function, or a class of an attack, got {name}")
        return Function(attack, options)
    for base in attack.__mro__:
        library = LIBRARIES.get(base.__module__.split(".")[0])
        if library is not None:
            return library(attack, options)
    raise UserError(f"attack.attack: expected a function, or an attack of {', '.join(LIBRARIES)}, got {name}")


def identity(attack: Any) -> Any:
    """What an attack counts by: one of an installed library by that and its version, another by itself, its source."""
    top = str(attack.__module__).split(".")[0]
    version = library_version(top) if top in LIBRARIES else ""
    return f"{top} {version}" if version else attack
