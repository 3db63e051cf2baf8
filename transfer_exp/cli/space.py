"""The space of a search: what Hydra's overrides say of a value that is to be searched.

interval(1e-4, 10)     a number between them; tag(log, interval(...)): on a logarithmic scale; tag(int, ...): a whole number
range(1, 5)            1, 2, 3, 4; with a step as its third argument
choice(relu, tanh)     one of these, in no order
0,1,2                  not searched: every trial does all of them
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from transfer_exp.types import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_TAGS = {"log", "int", "float"}


@dataclass(frozen=True)
class Space:
    """The searched overrides, by their key as it was typed."""

    searched: Mapping[str, Override]

    @classmethod
    def of(cls, overrides: Sequence[Override]) -> tuple[Space, list[str]]:
        """The space, and the other overrides; the last of a key counts. Raises UserError on what cannot be searched."""
        last = {one.get_key_element(): one for one in overrides}
        space = cls({key: one for key, one in last.items() if _is_searched(one)})
        for key, one in space.searched.items():
            _check(key, one.value())
        return space, [str(one.input_line) for key, one in last.items() if key not in space.searched]

    def __bool__(self) -> bool:
        return bool(self.searched)

    def distributions(self) -> dict[str, BaseDistribution]:
        """As Optuna takes it."""
        return {key: _distribution(one) for key, one in self.searched.items()}

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """The values of a trial as a command line has them."""
        return [f"{key}={chosen[key]}" for key in self.searched]

    def first(self) -> list[str]:
        """Any values of it, to see whether they can be composed."""
        return [f"{key}={_first(one)}" for key, one in self.searched.items()]


def _is_searched(one: Override) -> bool:
    value = one.value() if one.is_sweep_override() else None
    return isinstance(value, IntervalSweep | RangeSweep) or (isinstance(value, ChoiceSweep) and not value.simple_form)


def _check(key: str, value: Any) -> None:
    strange, is_interval = set(value.tags) - _TAGS, isinstance(value, IntervalSweep)
    if strange:
        raise UserError(f"{key}: expected tags of {', '.join(sorted(_TAGS))}, got {', '.join(sorted(strange))}")
    if value.tags and not is_interval:
        raise UserError(
            f"{key}: expected tags of an interval, got {', '.join(sorted(value.tags))} of other values; leave them out"
        )
    if is_interval and not value.start < value.end:
        raise UserError(f"{key}: expected an interval from a smaller to a larger number, got {value.start}, {value.end}")
    if is_interval and _is_whole(value) and math.ceil(value.start) > math.floor(value.end):
        raise UserError(f"{key}: expected an interval with a whole number in it, got {value.start}, {value.end}")
    if is_interval and "log" in value.tags and not value.start > 0:
        raise UserError(f"{key}: expected an interval above 0 for a logarithmic scale, got one from {value.start}")


def _first(one: Override) -> Any:
    value: Any = one.value()
    if one.is_interval_sweep():
        return math.ceil(value.start) if _is_whole(value) else value.start
    return next(one.sweep_string_iterator())


def _is_whole(value: Any) -> bool:
    are_whole = isinstance(value.start, int) and isinstance(value.end, int)
    return "int" in value.tags or (are_whole and "float" not in value.tags)


def _distribution(one: Override) -> BaseDistribution:
    from optuna import distributions

    value: Any = one.value()
    if one.is_interval_sweep():
        log = "log" in value.tags
        if _is_whole(value):
            return distributions.IntDistribution(math.ceil(value.start), math.floor(value.end), log=log)
        return distributions.FloatDistribution(float(value.start), float(value.end), log=log)
    listed = list(one.sweep_string_iterator())
    if isinstance(value, RangeSweep) and all(text.lstrip("-").isdigit() for text in listed) and len(listed) > 1:
        numbers = sorted(map(int, listed))
        return distributions.IntDistribution(numbers[0], numbers[-1], step=numbers[1] - numbers[0])
    return distributions.CategoricalDistribution(listed)
