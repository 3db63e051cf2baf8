"""A combination as a resolved configuration: nested mappings, a class or function as its ``_target_``.

What Hydra composes has the same shape: a combination has the same parameters in MLflow whether a command or a notebook made
it. Options that a configuration leaves to their defaults are here, too.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from transfer_exp.combination import Combination
from transfer_exp.data.target_rows import KnownTarget
from transfer_exp.types import RECORDED, Dataset

ROLES = ("attack", "surrogate", "target")


def as_configuration(combination: Combination) -> dict[str, Any]:
    """The resolved configuration of a combination, without what is no part of it (study, paths, threads)."""
    parts = {f.name: getattr(combination, f.name) for f in dataclasses.fields(combination) if f.name != "dataset"}
    parts["measures"] = {measure.name: measure for measure in combination.measures}
    if not combination.measures:
        del parts["measures"]
    return {"dataset": _of_dataset(combination.dataset), **plain(parts)}  # never the points themselves: they are millions


def names_of(combination: Combination) -> dict[str, Any]:
    """What a combination is called: data set, attack, learners (a class's name where there is no other), share, seed."""
    names = {part: getattr(combination, part) for part in ROLES}
    shown = {part: str(getattr(one, "name", "") or type(one).__name__) for part, one in names.items()}
    own = {"surrogate_fraction": combination.surrogate_fraction, "seed": combination.seed}
    return {"dataset": combination.dataset.name, **shown, **own}


def _of_dataset(dataset: Dataset) -> dict[str, Any]:
    """Its loader and options, as far as it remembers them (``data.loaders``) and is still what was loaded."""
    options = dict(dataset.made_by)
    if options.pop("_checksum_", None) != dataset.checksum:
        options = {"_target_": _name_of(Dataset), "checksum": str(dataset.checksum), "n_features": dataset.n_selected}
    known = {"target_rows": dataset.in_words} if isinstance(dataset, KnownTarget) else {}
    return {"name": dataset.name, **plain(options), "split": plain(dataset.sizes), **known}


def plain(value: Any) -> Any:
    """Any part of a combination as mappings, lists, numbers and texts; a class or function by its name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        options = {
            f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init or RECORDED in f.metadata
        }
        return {"_target_": _name_of(type(value)), **options}
    if isinstance(value, partial):
        return {**plain(value.func), "_partial_": True, **plain(value.keywords)}
    if isinstance(value, type | FunctionType):
        return {"_target_": _name_of(value), "_partial_": True}
    if hasattr(value, "get_params"):  # a scikit-learn estimator
        return {"_target_": _exported(type(value)), **plain(value.get_params(deep=False))}
    if callable(value):  # a method, or an object that is called
        return {"_target_": _name_of(value if hasattr(value, "__qualname__") else type(value)), "_partial_": True}
    if isinstance(value, Mapping):
        return {str(key): plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(below) for below in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _exported(kind: type) -> str:
    """The name that a class is imported by: that of the first package above it that has it."""
    parts = kind.__module__.split(".")
    packages = (".".join(parts[:k]) for k in range(1, len(parts) + 1))
    module = next((one for one in packages if getattr(sys.modules.get(one), kind.__qualname__, None) is kind), None)
    return f"{module or kind.__module__}.{kind.__qualname__}"


def _name_of(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
