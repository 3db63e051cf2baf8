"""Checks of measures, on a combination made small."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from transfer_exp import scenarios
from transfer_exp.checks.base import Answer, Check, Finding, NotApplicable, findings, same
from transfer_exp.combination import Combination
from transfer_exp.measures.base import Measure
from transfer_exp.measures.registry import MEASURES, extended
from transfer_exp.signature import checksum
from transfer_exp.store import Store
from transfer_exp.types import Grid, Sizes, counted

_N_VARIABILITY = 2


@dataclass(frozen=True)
class Measuring:
    """A combination, and all that its scenario offers to a measure, ``context``."""

    combination: Combination
    context: Any

    @cached_property
    def n_epsilons(self) -> int:
        """E."""
        return len(self.combination.epsilon.grid)


@contextlib.contextmanager
def measuring(combination: Combination) -> Iterator[Measuring]:
    """The combination, run; what it offers is caught as a measure gets it."""
    seen: list[Any] = []
    catch = Measure(name="context of the check", heading="", of="pair", compute=lambda context: seen.append(context))
    with tempfile.TemporaryDirectory() as folder:
        with extended([catch]):
            scenarios.run(combination, Store(folder))
        yield Measuring(combination, seen[0])


def small(combination: Combination) -> Combination:
    """The combination with few points of each part of the split, three epsilons and few training sets for V."""
    data, grid = combination.dataset, combination.epsilon
    k = data.n_classes
    sizes = Sizes(target=20 * k, surrogate=20 * k, validation=20 * k if data.sizes.validation else 0, test=max(10, 4 * k))
    few = tuple(sorted({grid.grid[0], grid.reference, grid.grid[-1]}))
    return replace(
        combination,
        dataset=replace(data, sizes=sizes),
        epsilon=Grid(grid=few, reference=grid.reference, shown=(grid.reference,)),
        n_variability=_N_VARIABILITY,
    )


def _look(measure: Measure, measuring: Measuring) -> Answer:
    if measure.compute is None:
        raise NotApplicable("recorded by the scenario itself")
    before = _arrays(measuring.context)
    values = measure.compute(measuring.context)
    if values is None:
        raise NotApplicable("the scenario has none of it")
    found = np.asarray(values)
    again = np.asarray(measure.compute(measuring.context))
    if found.dtype.kind not in "fiub":
        return False, f"values of type {found.dtype}"
    right = found.ndim in (1, 2) and len(found) == measuring.n_epsilons if measure.is_curve else found.ndim == 1
    if not right or not found.size:
        return False, f"values of shape {found.shape}, {counted(measuring.n_epsilons, 'epsilon')}"
    if not same(found, again):
        return False, "others the second time"
    changed = [name for name, digest in before.items() if _arrays(measuring.context).get(name) != digest]
    if changed:
        return False, f"changed what others measure: {', '.join(changed)}"
    return _in_range(measure, found.astype(np.float64))


def _in_range(measure: Measure, values: np.ndarray[Any, Any]) -> Answer:
    """Finite, or NaN where undefined; shares and cosines where they belong."""
    defined = values[~np.isnan(values)]
    if np.isinf(defined).any():
        return False, f"{np.count_nonzero(np.isinf(defined))} of {values.size} infinite"
    least = 0.0 if measure.is_share else -1.0 if measure.is_cosine else -np.inf
    most = 1.0 if measure.is_share or measure.is_cosine else np.inf
    if defined.size and (defined.min() < least - 1e-9 or defined.max() > most + 1e-9):
        return False, f"from {defined.min():.4g} to {defined.max():.4g}"
    text = f"shape {values.shape}"
    if defined.size < values.size:
        text += f", {values.size - defined.size} undefined"
    return True, text + (f", from {defined.min():.3g} to {defined.max():.3g}" if defined.size else "")


def _arrays(context: Any) -> dict[str, str]:
    """Digests of the arrays that the context has made so far."""
    return {name: checksum(value) for name, value in vars(context).items() if isinstance(value, np.ndarray)}


def _expected(measure: Measure) -> str:
    shape = "(E,) or (E, n)" if measure.is_curve else "(n,)"
    range_ = " from 0 to 1" if measure.is_share else " from -1 to 1" if measure.is_cosine else ""
    return f"{shape}{range_}, finite or NaN, the same twice"


def check_measures(
    combination: Combination, part: str = "measures", *, measures: Iterable[Measure] | None = None
) -> list[Finding]:
    """Check measures on a combination made ``small``; None: those of the registry and those of the combination."""
    some = [*MEASURES.values(), *combination.measures] if measures is None else list(measures)
    with measuring(small(combination)) as subject:
        return [
            finding
            for measure in some
            for finding in findings(
                part,
                [Check(measure.name, _expected(measure), lambda subject, measure=measure: _look(measure, subject))],  # type: ignore[misc]
                subject,
            )
        ]
