"""A study as the tracking store has it: tidy tables of its runs and curves, its gaps, where it comes from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Run

from transfer_exp.report import checked, earlier, factors, gaps, repair
from transfer_exp.report import client as store
from transfer_exp.report.curves import CURVE_COLUMNS, DIGITS, curves_frame, with_white_box_of, worst_white_box
from transfer_exp.report.factors import KEY, Slice, newest
from transfer_exp.types import UserError, counted

MEASURES = [
    "clean_error",
    "surrogate_clean_error",
    "gradient_size",
    "gradient_size_logistic",
    "gradient_alignment",
    "loss_variability",
    "loss_variability_logistic",
    "perturbation_correlation",
    "seconds",
]
_AT_ONCE = 1000  # files whose text is held in memory
_UNNAMED = "unnamed"


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's finished runs with one value of each factor but learners, seed and share of the surrogate's data.

    runs: one row a combination (identity, parameters as text, scalar measures, tags). curves: one row a combination and
    epsilon, columns ``run_id`` and ``CURVE_COLUMNS``. fraction: the largest share of the surrogate data, at which learners
    are compared. gaps: what is missing, failed or mixed. left_out: those of the gaps that are runs and files which are not
    what was logged. warnings: health above its limit. parents: the sweeps' parent runs, oldest first. settings: the factors'
    values here, where the study has several. others: the study with other values, each not ``is_first``. where: what was
    asked for.
    """

    name: str
    attack: str
    norm: str
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

    @property
    def fractions(self) -> list[float]:
        """Shares of the surrogate data, largest first."""
        return sorted(self.runs["surrogate_fraction"].unique(), reverse=True)


def load(
    *, tracking_uri: str, study: str, only: Collection[str] | None = None, where: Mapping[str, str] | None = None
) -> Study:
    """Read a study, or ``only`` the runs of it with these ids, or those with the settings ``where``.

    Raises UserError for an unreachable store, an unknown study, one without finished run, settings that no run has.
    """
    client = store.connect(tracking_uri)
    with store.speaking_of(tracking_uri):
        experiment = store.experiment_id(client, study)
        found = store.search(client, experiment, "combination", only)
        parents = store.search(client, experiment, "study")
        good, unnamed, strange = checked.readable(found)
        if not any(run.info.status == "FINISHED" for run in good):
            why = f" ({strange[0]})" if strange else ""
            raise UserError(f"study: expected finished runs of {study}, got none of {len(found)}{why}; run it (again) first")
        by_id = {run.info.run_id: run for run in good}
        settings = earlier.settings_of(good, lambda runs: checked.files(client, runs, "config.yaml"))
        every = factors.chosen(runs_frame(good, settings), where or {})
        slices, strays, curves, damage = _slices(client, every, by_id)

        def command(run_id: str, seeds: Sequence[int]) -> str:
            typed = checked.files(client, [by_id[run_id]], "overrides.yaml").get(run_id)
            return repair.command(by_id[run_id], parents, typed, seeds)

        left_out = [*strange, *damage]
        lines = [*left_out, *_unfinished(unnamed), *strays]
        made = of_slices(name=study, slices=slices, curves=curves, notes=lines, parents=parents, command=command)
        return replace(made, where=where or {}, left_out=tuple(left_out))


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
    lines = [*notes, *gaps.partial(slices, command), *first.gaps, *gaps.absent_learners(first.runs)]
    lines += [f"{factors.in_words(other.settings)}: {line}" for other in others for line in other.gaps]
    others = [replace(other, is_first=False, gaps=()) for other in others]
    return replace(first, gaps=tuple(lines), parents=tuple(parents), others=tuple(others))


def _of_slice(name: str, own: Slice, curves: pd.DataFrame) -> Study:
    runs = newest(own.runs)
    about = runs[["run_id", "dataset", "attack", *KEY]].assign(study=name)
    curves = about.merge(curves, on="run_id", validate="one_to_many").reindex(columns=["run_id", *CURVE_COLUMNS])
    _one_curve_each(curves)
    last = runs.sort_values("start_time", kind="stable").iloc[-1]
    if last["attack"] != "poisoning":  # whose points are made for one training set: there is no common ball
        curves = worst_white_box(curves)
        runs = with_white_box_of(curves, runs)
    return Study(
        name=name,
        attack=str(last["attack"]),
        norm=str(last.get("attack.norm", "")),
        epsilon_reference=round(float(last["epsilon.reference"]), DIGITS),
        epsilon_shown=tuple(round(float(epsilon), DIGITS) for epsilon in json.loads(last["epsilon.shown"])),
        fraction=float(runs["surrogate_fraction"].max()),
        runs=runs,
        curves=curves,
        gaps=(*gaps.missing(own.runs, runs), *gaps.disagreements(runs)),
        warnings=tuple(gaps.warnings(runs)),
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


def runs_frame(found: Sequence[Run], settings: Mapping[str, Mapping[str, str]] | None = None) -> pd.DataFrame:
    """One row a run: identity, status, tags of origin, scalar measures (all of ``MEASURES`` exist), settings as text.

    settings: parameters by run id, where they are not those that a run has recorded.
    """
    columns: dict[str, list[Any]] = {}  # all rows as dicts at once would take twice the room
    for place, run in enumerate(found):
        for name, value in _row(run, (settings or {}).get(run.info.run_id, run.data.params)).items():
            if name not in columns:
                columns[name] = [None] * len(found)
            columns[name][place] = value
    frame = pd.DataFrame(columns)
    for column in [*MEASURES, *(c for c in ("surrogate", "target") if c not in frame)]:
        if column not in frame:
            frame[column] = np.nan
    for role in ("surrogate", "target"):
        frame[role] = frame[role].astype(object).where(frame[role].notna() & (frame[role] != ""), _UNNAMED)
    for column in frame.columns.intersection(list(factors.SIZES)):
        frame[column] = _numeric(frame[column])
    return frame.astype({"surrogate_fraction": float, "seed": int})


def _row(run: Run, params: Mapping[str, str]) -> dict[str, Any]:
    info, data = run.info, run.data
    origin = {
        k: v
        for k, v in data.tags.items()
        if k in ("git_commit", "data_checksum", "signature") or k.startswith(("version/", "source/"))
    }
    measured = {k: v for k, v in data.metrics.items() if not k.startswith(("curve/", "system/"))}
    about = {"run_id": info.run_id, "status": info.status, "start_time": info.start_time, "end_time": info.end_time}
    about |= {"parent": data.tags.get("mlflow.parentRunId")}
    return {**about, **params, **measured, **origin}


def _numeric(column: pd.Series[Any]) -> pd.Series[Any]:
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column  # a word among them: the column stays text


def _unfinished(runs: Sequence[Run]) -> list[str]:
    """A note on each kind of end that runs without parameters came to."""
    ends = Counter(run.data.tags.get("error", run.info.status) for run in runs)
    return [f"{counted(count, 'run')} did not finish: {end}" for end, count in sorted(ends.items())]


def _slices(
    client: store.Client, every: pd.DataFrame, by_id: Mapping[str, Run]
) -> tuple[list[Slice], list[str], pd.DataFrame, list[str]]:
    """Slices, lines on runs of none, curves, lines on damage. For a run without its curves an older one counts, or none."""
    parts, read, damage = [curves_frame({})], set[str](), dict[str, str]()
    while True:
        slices, strays = factors.slices(every)
        counting = [run_id for each in slices for run_id in newest(each.runs)["run_id"]]
        unread = [by_id[run_id] for run_id in counting if run_id not in read]
        damaged: dict[str, str] = {}
        for i in range(0, len(unread), _AT_ONCE):
            texts, bad = checked.curves(client, unread[i : i + _AT_ONCE])
            parts.append(curves_frame(texts))
            read, damaged = read | texts.keys(), damaged | bad
        damage |= damaged
        if not damaged:
            return slices, strays, pd.concat(parts, ignore_index=True), checked.shortened(list(damage.values()))
        every = every.assign(status=every["status"].where(~every["run_id"].isin(damaged), checked.DAMAGED))
        if not (every["status"] == "FINISHED").any():
            line = next(iter(damage.values()))
            raise UserError(f"study: expected finished runs with whole files, got none of {len(damage)}: {line}")
