"""A study: the finished runs with one value of each factor, as tidy tables, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from mlflow.entities import Run

from transfer_exp.measures import Measure
from transfer_exp.report import factors, gaps
from transfer_exp.report.curves import DIGITS, IDENTITY, curve_columns, with_white_box_of, worst_white_box
from transfer_exp.report.factors import KEY, Slice, newest
from transfer_exp.report.taxonomy import Learners
from transfer_exp.scenarios.words import Words, words_of
from transfer_exp.tracking.studies import WHOLE
from transfer_exp.types import UserError


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's finished runs with one value of each factor but learners, seed and share of the surrogate's data.

    scenario, attack, norm, goal: of its attack; goal is ``any`` where any other class will do. learners: their family and
    complexity. runs: one row a combination (identity, parameters as text, scalar measures, tags). curves: one row a
    combination and epsilon, columns ``run_id`` and ``curve_columns()``. fraction: the largest share of the surrogate data,
    at which learners are compared. gaps: what is missing, failed or mixed. left_out: those of the gaps that are runs and
    files which are not what was logged. warnings: health above its limit. parents: the sweeps' parent runs, oldest first.
    settings: the factors' values here, where the study has several. others: the study with other values, each not
    ``is_first``. where: what was asked for. measures: those that the runs have recorded beside the suite's.
    """

    name: str
    scenario: str
    attack: str
    norm: str
    goal: str = "any"
    learners: Learners
    epsilon_reference: float
    epsilon_shown: tuple[float, ...]
    fraction: float
    runs: pd.DataFrame
    curves: pd.DataFrame
    gaps: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parents: tuple[Run, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Study, ...] = ()
    is_first: bool = True
    where: Mapping[str, str] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()

    @property
    def words(self) -> Words:
        """The words of its scenario."""
        return words_of(self.scenario)

    @property
    def whole(self) -> int | None:
        """How many combinations the study has by its configuration; None where no sweep has said it."""
        told = [parent.data.tags[WHOLE] for parent in self.parents if WHOLE in parent.data.tags]
        return int(told[-1]) if told else None

    @property
    def fractions(self) -> list[float]:
        """Shares of the surrogate data, largest first."""
        return sorted(self.runs["surrogate_fraction"].unique(), reverse=True)


def assemble(*, name: str, every: pd.DataFrame, curves: pd.DataFrame) -> Study:
    """A study from all tried runs and, with a column ``run_id``, the curves of those that count."""
    slices, strays = factors.slices(every)
    return of_slices(name=name, slices=slices, curves=curves, notes=strays)


def of_slices(
    *,
    name: str,
    slices: Sequence[Slice],
    curves: pd.DataFrame,
    notes: Sequence[str] = (),
    parents: Sequence[Run] = (),
    command: Callable[[str, Sequence[int]], str] = lambda _run, _seeds: "",
) -> Study:
    """The study of the first slice, with the others beside it; ``command`` says how to do a run's settings on seeds."""
    first, *others = (_of_slice(name, each, curves) for each in slices)
    lines = [*notes, *gaps.partial(slices, command), *first.gaps, *gaps.absent_learners(first.runs, first.learners)]
    lines += [f"{factors.in_words(other.settings)}: {line}" for other in others for line in other.gaps]
    others = [replace(other, is_first=False, gaps=()) for other in others]
    return replace(first, gaps=tuple(lines), parents=tuple(parents), others=tuple(others))


def _of_slice(name: str, own: Slice, curves: pd.DataFrame) -> Study:
    runs = newest(own.runs)
    about = runs[["run_id", *IDENTITY[1:]]].assign(study=name)
    curves = about.merge(curves, on="run_id", validate="one_to_many").reindex(columns=["run_id", *curve_columns()])
    _one_curve_each(curves)
    last = runs.sort_values("start_time", kind="stable").iloc[-1]
    if words_of(str(last["scenario"])).one_ball:
        curves = worst_white_box(curves)
        runs = with_white_box_of(curves, runs)
    return Study(
        name=name,
        scenario=str(last["scenario"]),
        attack=str(last["attack"]),
        norm=str(last.get("attack.norm", "")),
        goal=str(last.get("attack.goal", "any")),
        learners=own.learners,
        epsilon_reference=round(float(last["epsilon.reference"]), DIGITS),
        epsilon_shown=tuple(round(float(epsilon), DIGITS) for epsilon in json.loads(last["epsilon.shown"])),
        fraction=float(runs["surrogate_fraction"].max()),
        runs=runs,
        curves=curves,
        gaps=(*gaps.missing(own, runs), *gaps.disagreements(runs)),
        warnings=tuple(gaps.warnings(runs, words_of(str(last["scenario"])))),
        settings=own.settings,
    )


def _one_curve_each(curves: pd.DataFrame) -> None:
    """Raises UserError where two rows claim one combination and epsilon: every mean over the rows would hide that."""
    key = [*KEY, "epsilon"]
    twice = curves[curves.duplicated(key)]
    if len(twice):
        which = ", ".join(f"{name}={value}" for name, value in twice[key].iloc[0].items())
        raise UserError(
            f"epsilon.grid: expected one curve a combination, its values at least 1e-{DIGITS} apart, got several rows of "
            f"{which}; round the grid and run the study again"
        )
