"""Which attacks on training data are compared with which, and where: on the targets and seeds that all of them have met.

for each setting of the data and each surrogate, of each attack
    the points made on this surrogate, if there are any
    else those that are the same for every surrogate, by what is recorded: no retrainings, no gradients, equal errors
    else those made on another surrogate that harm the targets most: the best of an attacker who may choose among them
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
import pandas as pd

from transfer_exp.report.factors import in_words
from transfer_exp.report.study import Study

SECONDS = "effort/cpu_seconds_at_"
ANY = "any surrogate"
_CELL = ["target", "seed"]
_EFFORT = ["effort/retrainings", "effort/gradients"]

Cells: TypeAlias = frozenset[tuple[str, int]]
"""Targets, each with a seed."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Of one attack, the points made on one surrogate, or those that are the same for all (``ANY``).

    curves: a row a target, seed and share, with ``damage``. runs: with the CPU seconds.
    """

    attack: str
    settings: str
    made_on: str
    curves: pd.DataFrame
    runs: pd.DataFrame

    @property
    def cells(self) -> Cells:
        """What has met them."""
        return frozenset(self.curves[_CELL].itertuples(index=False, name=None))

    def on(self, cells: Cells) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Curves and runs of these targets and seeds."""
        curves, runs = (rows[pd.MultiIndex.from_frame(rows[_CELL]).isin(cells)] for rows in (self.curves, self.runs))
        return curves, runs

    @property
    def label(self) -> str:
        """The attack, for people."""
        return f"{self.attack}, {self.settings}" if self.settings else self.attack


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Attacks compared for one surrogate. where: settings of the data. cells: what all have met. absent: those left out."""

    where: str
    surrogate: str
    points: Sequence[Points]
    cells: Cells
    absent: Sequence[str]


def slices(study: Study) -> tuple[Study, ...]:
    """The study and what stands beside it, those that attack training data and say how long it took."""
    return tuple(one for one in _poisoning(study) if _is_timed(one))


def _poisoning(study: Study) -> list[Study]:
    return [one for one in (study, *study.others) if one.scenario == "poisoning"]


def _is_timed(study: Study) -> bool:
    return any(str(c).startswith(SECONDS) for c in study.runs)


def settings_of(study: Study) -> str:
    """The settings of its attack that tell it from the others."""
    return in_words({name: value for name, value in study.settings.items() if name.startswith("attack.")})


def where(study: Study, parts: Sequence[Study]) -> str:
    """What else tells it from the others: the told settings that are no attack's, and those of the data."""
    told = {name: value for name, value in study.settings.items() if name.partition(".")[0] != "attack"}
    names = sorted({str(c) for one in parts for c in one.runs if str(c).partition(".")[0] == "dataset"})
    values = {name: [_value(one, name) for one in parts] for name in names}
    of_data = {name: _value(study, name) for name in names if len(set(values[name])) > 1}
    return in_words(told | of_data)


def _value(study: Study, name: str) -> str:
    return str(study.runs[name].iloc[0]) if name in study.runs else ""


def comparisons(study: Study) -> Iterator[Comparison]:
    """One a setting of the data and surrogate, in their order."""
    every = slices(study)
    groups: dict[str, list[list[Points]]] = {}
    for one in every:
        groups.setdefault(where(one, every), []).append(_points(one))
    for place, group in groups.items():
        for surrogate in sorted({name for attack in group for own in attack for name in own.runs["surrogate"]}):
            yield _comparison(place, surrogate, group)


def _points(study: Study) -> list[Points]:
    """Of an attack, those made on each surrogate; where they are the same for all, these once."""
    curves = study.curves[np.isclose(study.curves["surrogate_fraction"], study.fraction) & (study.curves["epsilon"] > 0)]
    curves = curves.assign(damage=curves["error"] - curves["clean_error"])
    runs = study.runs[np.isclose(study.runs["surrogate_fraction"], study.fraction)]

    def of(made_on: str, curves: pd.DataFrame, runs: pd.DataFrame) -> Points:
        return Points(attack=study.attack, settings=settings_of(study), made_on=made_on, curves=curves, runs=runs)

    if _are_the_same(curves, runs):
        return [of(ANY, curves.drop_duplicates([*_CELL, "epsilon"]), runs)]
    return [of(str(name), own, runs[runs["surrogate"] == name]) for name, own in curves.groupby("surrogate")]


def _are_the_same(curves: pd.DataFrame, runs: pd.DataFrame) -> bool:
    """Whether the attack asked no surrogate, by its effort, and did the same with several wherever one target met them."""
    if not set(_EFFORT) <= set(runs) or not (runs[_EFFORT] == 0).all(axis=None):
        return False
    errors = curves.groupby([*_CELL, "epsilon"])["error"]
    return bool((errors.size() > 1).any() and (errors.nunique() == 1).all())


def _comparison(place: str, surrogate: str, group: Sequence[Sequence[Points]]) -> Comparison:
    own = [next((one for one in attack if one.made_on in (surrogate, ANY)), None) for attack in group]
    met = frozenset[tuple[str, int]].intersection(*(one.cells for one in own if one))
    found = [one or _best(attack, met) for one, attack in zip(own, group, strict=True)]
    points = [one for one in found if one]
    absent = [attack[0].label for one, attack in zip(found, group, strict=True) if not one]
    common = frozenset[tuple[str, int]].intersection(*(one.cells for one in points))
    return Comparison(where=place, surrogate=surrogate, points=points, cells=_whole(common), absent=absent)


def _best(attack: Sequence[Points], met: Cells) -> Points | None:
    """Of points made on other surrogates those of largest damage, on as much of what is met as any of them cover."""
    covered = max((one.cells & met for one in attack), key=len)
    if not covered:
        return None
    as_wide = [one for one in attack if one.cells & met == covered]
    return max(as_wide, key=lambda one: float(one.on(covered)[0]["damage"].mean()))


def _whole(cells: Cells) -> Cells:
    """The targets that are there with all seeds, or the seeds with all targets, whichever is more: means of the same."""
    targets, seeds = ({cell[k] for cell in cells} for k in (0, 1))
    complete = [one for one in targets if all((one, seed) in cells for seed in seeds)]
    finished = [one for one in seeds if all((target, one) in cells for target in targets)]
    return max(frozenset(product(complete, seeds)), frozenset(product(targets, finished)), key=len)  # type: ignore[arg-type]


def left_out(study: Study) -> pd.DataFrame:
    """One row a surrogate and target, seed or attack that is compared with nothing though something of it was recorded."""
    timed = slices(study)
    untimed = [one for one in _poisoning(study) if not _is_timed(one)]
    rows = [("", "", f"attack {one.attack}", "no CPU seconds are recorded") for one in untimed]
    for one in comparisons(study) if timed else ():
        rows += [(one.where, one.surrogate, *line) for line in _lines(one)]
    return pd.DataFrame(rows if timed else [], columns=["where", "surrogate", "left_out", "because"])


def _lines(of: Comparison) -> Iterator[tuple[str, str]]:
    for attack in of.absent:
        yield f"attack {attack}", "its points were made on other surrogates, and met no target and seed that this one's did"
    if not of.cells:
        yield "all", "no target has met all attacks with the same seed"
        return
    kept = [{cell[k] for cell in of.cells} for k in (0, 1)]
    every = [{cell[k] for one in of.points for cell in one.cells} for k in (0, 1)]
    for target in sorted(map(str, every[0] - kept[0])):
        yield f"target {target}", f"not met by {_lacking(of.points, product([target], kept[1]))}"
    for seed in sorted(map(int, every[1] - kept[1])):
        yield f"seed {seed}", f"not met by {_lacking(of.points, product(kept[0], [seed]))}"


def _lacking(points: Collection[Points], cells: Iterator[tuple[object, object]]) -> str:
    wanted = set(cells)
    return ", ".join(one.label for one in points if not wanted <= one.cells)
