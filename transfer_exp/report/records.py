"""A study as the tracking store has it: tidy tables of its runs and curves, its gaps, where it comes from."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from transfer_exp.report import client as store
from transfer_exp.report import earlier, factors, gaps, repair
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
CURVE_COLUMNS = [
    *("study", "dataset", "attack", "surrogate", "target", "surrogate_fraction", "seed"),
    *("epsilon", "error", "clean_error", "whitebox_error", "success", "whitebox_success", "surrogate_error"),
    *("loss", "loss_logistic", "perturbation_correlation", "perturbation_l1", "perturbation_l2", "perturbation_linf"),
    "noise_error",
]
_NUMBERS = CURVE_COLUMNS[CURVE_COLUMNS.index("epsilon") :]
_UNNAMED = "unnamed"
_DIGITS = 9  # of an epsilon, so that equal ones compare equal


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's finished runs with one value of each factor but learners, seed and share of the surrogate's data.

    runs: one row a combination (identity, parameters as text, scalar measures, tags). curves: one row a combination and
    epsilon, columns ``run_id`` and ``CURVE_COLUMNS``. fraction: the largest share of the surrogate data, at which learners are
    compared. gaps: what is missing, failed or mixed. warnings: health above its limit. parents: the sweeps' parent runs,
    oldest first. settings: the factors' values here, where the study has several. others: the study with other values, each
    not ``is_first``. where: what was asked for.
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
        if not any(run.info.status == "FINISHED" for run in found):
            raise UserError(f"study: expected finished runs of {study}, got none of {len(found)}; run it (again) first")
        by_id = {run.info.run_id: run for run in found}
        # A run logs what it is at its start: of one that ended before, only the reason is known.
        named = [run for run in found if "seed" in run.data.params]
        unnamed = [run for run in found if "seed" not in run.data.params]
        settings = earlier.settings_of(named, lambda runs: store.read_artifacts(client, runs, "config.yaml"))
        slices, strays = factors.slices(factors.chosen(runs_frame(named, settings), where or {}))
        counting = [by_id[run_id] for each in slices for run_id in newest(each.runs)["run_id"]]
        curves, without = _curves(client, counting)
        lines = [*_unfinished(unnamed), *strays, *without]

        def command(run_id: str, seeds: Sequence[int]) -> str:
            typed = store.read_artifacts(client, [by_id[run_id]], "overrides.yaml").get(run_id)
            return repair.command(by_id[run_id], parents, typed, seeds)

        made = of_slices(name=study, slices=slices, curves=curves, notes=lines, parents=parents, command=command)
        return replace(made, where=where or {})


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
    lines = [*notes, *gaps.partial(slices, command), *first.gaps]
    lines += [f"{factors.in_words(other.settings)}: {line}" for other in others for line in other.gaps]
    others = [replace(other, is_first=False) for other in others]
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
        epsilon_reference=round(float(last["epsilon.reference"]), _DIGITS),
        epsilon_shown=tuple(round(float(epsilon), _DIGITS) for epsilon in json.loads(last["epsilon.shown"])),
        fraction=float(runs["surrogate_fraction"].max()),
        runs=runs,
        curves=curves,
        gaps=(*gaps.missing(own.runs, runs), *gaps.absent_learners(runs), *gaps.disagreements(runs)),
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
            f"epsilon.grid: expected one curve a combination, its values at least 1e-{_DIGITS} apart, got several rows of "
            f"{which}; round the grid and run the study again"
        )


def runs_frame(found: Sequence[Run], settings: Mapping[str, Mapping[str, str]] | None = None) -> pd.DataFrame:
    """One row a run: identity, status, tags of origin, scalar measures (all of ``MEASURES`` exist), settings as text.

    settings: parameters by run id, where they are not those that a run has recorded.
    """
    frame = pd.DataFrame([_row(run, (settings or {}).get(run.info.run_id, run.data.params)) for run in found])
    for column in [*MEASURES, *(c for c in ("surrogate", "target") if c not in frame)]:
        if column not in frame:
            frame[column] = np.nan
    for role in ("surrogate", "target"):
        frame[role] = frame[role].astype(object).where(frame[role].notna() & (frame[role] != ""), _UNNAMED)
    for column in frame.columns.intersection(factors.SIZES):
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


def _curves(client: MlflowClient, runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
    texts = store.read_artifacts(client, runs, "curves.csv")
    lost = len(runs) - len(texts)
    notes = [f"curves.csv is missing from {counted(lost, 'finished run')}: not in any curve or error matrix"] if lost else []
    return curves_frame(texts), notes


def curves_frame(texts: Mapping[str, bytes]) -> pd.DataFrame:
    """All curves in one table, by run id: columns ``run_id``, ``epsilon`` and measures. What a run is, is not read here.

    Files with one header are parsed together, which is fast.
    """
    alike: dict[bytes, dict[str, bytes]] = {}
    for run_id, text in texts.items():
        header, _, body = text.replace(b"\r\n", b"\n").partition(b"\n")
        alike.setdefault(header, {})[run_id] = body.rstrip(b"\n")
    parts = [_parsed(header, bodies) for header, bodies in alike.items()]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["run_id", *_NUMBERS])
    frame = frame.reindex(columns=["run_id", *_NUMBERS])
    frame[_NUMBERS] = frame[_NUMBERS].astype(float)
    return frame.assign(epsilon=frame["epsilon"].round(_DIGITS))


def _parsed(header: bytes, bodies: Mapping[str, bytes]) -> pd.DataFrame:
    content = io.BytesIO(b"\n".join([header, *bodies.values()]))
    frame = pd.read_csv(content, usecols=lambda name: name in _NUMBERS)
    lengths = [body.count(b"\n") + 1 if body else 0 for body in bodies.values()]
    if sum(lengths) != len(frame) and len(bodies) > 1:  # a name has a line end in it
        return pd.concat([_parsed(header, {run_id: body}) for run_id, body in bodies.items()], ignore_index=True)
    owners = np.repeat(list(bodies), lengths) if sum(lengths) == len(frame) else next(iter(bodies))
    return frame.assign(run_id=owners)


def worst_white_box(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with each target's white box as the largest error and success of its runs with any surrogate.

    A run takes, point by point, the better of what was made on the target and on its own surrogate. Between the runs only
    errors can be compared: their maximum is a lower bound of what the best point of all would give.
    """
    columns = ["whitebox_error", "whitebox_success"]
    return curves.assign(**curves.groupby(["target", "seed", "epsilon"])[columns].transform("max"))


def with_white_box_of(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with their columns ``whitebox_error_at_*`` and ``error_ratio_at_*`` as the study's curves have them.

    A run has logged what it knew itself. NaN where there is no curve, and for a ratio where the white-box error is 0.
    """
    found = {}
    for epsilon in curves["epsilon"].unique():
        rows = curves[curves["epsilon"] == epsilon].set_index(KEY)
        white = rows["whitebox_error"]
        found[f"whitebox_error_at_{epsilon:g}"] = white
        found[f"error_ratio_at_{epsilon:g}"] = rows["error"] / white.where(white > 0)
    logged = [name for name in map(str, runs) if name.startswith(("whitebox_error_at_", "error_ratio_at_"))]
    keys = pd.MultiIndex.from_frame(runs[KEY])
    values = {name: found[name].reindex(keys).to_numpy() if name in found else np.nan for name in logged}
    return runs.assign(**values)
