"""Measures of the user's own in the record: a run says of each, in a tag, all that a report needs to show it.

    measure/curvature = {"heading": "curvature of the loss", "of": "surrogate", "compute": {...}, "digest": "..."}

``compute`` names the function and its options, ``digest`` stands for all of it, the function's source included. A run that
has the same tags has measured the same; a report needs neither the configuration nor the user's code.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from transfer_exp.combination import Combination
from transfer_exp.measures.base import Measure
from transfer_exp.measures.own import check_shown
from transfer_exp.signature import signature
from transfer_exp.tracking.configuration import plain
from transfer_exp.types import UserError

_TAG = "measure/"
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Measure)}


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A measure as a run has recorded it, without its function; ``values``: what its values mean, as text."""

    measure: Measure
    values: str


def tags_of_measures(combination: Combination) -> dict[str, str]:
    """The tags of a combination's own measures."""
    return {f"{_TAG}{measure.name}": json.dumps(_described(measure)) for measure in combination.measures}


def functions_of(combination: Combination) -> list[Any]:
    """The functions of a combination's own measures."""
    return [_unwrapped(measure.compute) for measure in combination.measures]


def recorded_measures(tags: Mapping[str, str]) -> Iterator[tuple[str, Recorded | None]]:
    """Name and measure of each such tag; None where it is no description of a measure."""
    for tag, text in tags.items():
        if tag.startswith(_TAG):
            name = tag.removeprefix(_TAG)
            try:
                yield name, _recorded(name, json.loads(text))
            except (ValueError, TypeError, AttributeError, UserError):
                yield name, None


def _described(measure: Measure) -> dict[str, Any]:
    values = {name: getattr(measure, name) for name in _DEFAULTS if name not in ("name", "compute")}
    told = {name: plain(value) for name, value in values.items() if value != _DEFAULTS[name]}
    return {**told, "compute": plain(measure.compute), "digest": signature(measure=measure)}


def _recorded(name: str, told: dict[str, Any]) -> Recorded:
    known = {key: value for key, value in told.items() if key in _DEFAULTS and key != "compute"}
    measure = Measure(name=name, **known)
    check_shown(measure)
    meaning = {"of": measure.of, "is_curve": measure.is_curve, "compute": told.get("compute")}
    return Recorded(measure, json.dumps(meaning, sort_keys=True))


def _unwrapped(function: Any) -> Any:
    """The function of a partial; of another callable object its class."""
    while isinstance(function, partial):
        function = function.func
    return function if hasattr(function, "__qualname__") else type(function)
