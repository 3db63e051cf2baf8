"""A study as the tracking store has it: tidy tables of its runs and curves, its gaps, where it comes from."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Run

from transfer_exp.report import checked, gaps
from transfer_exp.report import client as store
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
_TEXT_COLUMNS = {"study", "dataset", "attack", "surrogate", "target"}
_DIGITS = 9  # of an epsilon, so that equal ones compare equal


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study's finished runs.

    runs: one row a combination (identity, parameters, scalar measures, tags). curves: one row a combination and epsilon,
    columns ``CURVE_COLUMNS``. fraction: the largest share of the surrogate data, at which learners are compared.
    gaps: what is missing, failed or mixed. left_out: those of the gaps that are runs and
    files which are not what was logged. warnings: health above its limit.
    parents: the sweeps' parent runs, oldest first.
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

    @property
    def fractions(self) -> list[float]:
        """Shares of the surrogate data, largest first."""
        return sorted(self.runs["surrogate_fraction"].unique(), reverse=True)


def load(*, tracking_uri: str, study: str, only: Collection[str] | None = None) -> Study:
    """Read a study, or ``only`` the runs of it with these ids.

    Raises UserError for an unreachable store, an unknown study, one without finished run.
    """
    client = store.connect(tracking_uri)
    with store.speaking_of(tracking_uri):
        experiment = store.experiment_id(client, study)
        found = store.search(client, experiment, "combination")
        found = found if only is None else [run for run in found if run.info.run_id in only]
        parents = store.search(client, experiment, "study")
        good, unnamed, strange = checked.readable(found)
        if not any(run.info.status == "FINISHED" for run in good):
            why = f" ({strange[0]})" if strange else ""
            raise UserError(f"study: expected finished runs of {study}, got none of {len(found)}{why}; run it (again) first")
        every, notes = _of_one_kind(runs_frame(good))
        every, texts, damage = _curves(client, every, {run.info.run_id: run for run in good})
    notes += _unfinished(unnamed)
    curves = curves_frame(list(texts.values()))
    return assemble(name=study, every=every, curves=curves, notes=notes, left_out=[*strange, *damage], parents=parents)


def assemble(
    *,
    name: str,
    every: pd.DataFrame,
    curves: pd.DataFrame,
    notes: Sequence[str] = (),
    left_out: Sequence[str] = (),
    parents: Sequence[Run] = (),
) -> Study:
    """A study from all tried runs (of one data set and attack) and the curves of those that count."""
    runs = newest(every)
    _one_curve_each(curves)
    last = runs.sort_values("start_time", kind="stable").iloc[-1]
    if last["attack"] != "poisoning":  # whose points are made for one training set: there is no common ball
        curves = worst_white_box(curves)
        runs = with_white_box_of(curves, runs)
    reference = round(float(last["epsilon_reference"]), _DIGITS)
    shown = [round(float(e), _DIGITS) for e in json.loads(last["epsilon_shown"])]
    return Study(
        name=name,
        attack=str(last["attack"]),
        norm=str(last["norm"]),
        epsilon_reference=reference,
        epsilon_shown=tuple(shown),
        fraction=float(runs["surrogate_fraction"].max()),
        runs=runs,
        curves=curves,
        gaps=(*left_out, *notes, *gaps.missing(every, runs), *gaps.absent_learners(runs), *gaps.disagreements(runs)),
        left_out=tuple(left_out),
        warnings=tuple(gaps.warnings(runs)),
        parents=tuple(parents),
    )


def _one_curve_each(curves: pd.DataFrame) -> None:
    """Raises UserError where two rows claim one combination and epsilon: every mean over the rows would hide that."""
    key = [*gaps.KEY, "epsilon"]
    twice = curves[curves.duplicated(key)]
    if len(twice):
        which = ", ".join(f"{name}={value}" for name, value in twice[key].iloc[0].items())
        raise UserError(
            f"epsilon.grid: expected one curve a combination, its values at least 1e-{_DIGITS} apart, got several rows of "
            f"{which}; round the grid and run the study again"
        )


def runs_frame(found: Sequence[Run]) -> pd.DataFrame:
    """One row a run: identity, status, parameters, tags of origin, scalar measures (all of ``MEASURES`` exist)."""
    frame = pd.DataFrame([_row(run) for run in found])
    for column in [*MEASURES, "norm"]:
        if column not in frame:
            frame[column] = np.nan
    for column in frame.columns.difference([*_TEXT_COLUMNS, "run_id", "status", "git_commit", "data_checksum"]):
        if not column.startswith("version/"):
            frame[column] = _numeric(frame[column])
    return frame.astype({"surrogate_fraction": float, "seed": int})


def _row(run: Run) -> dict[str, Any]:
    info, data = run.info, run.data
    origin = {
        k: v for k, v in data.tags.items() if k in ("git_commit", "data_checksum", "signature") or k.startswith("version/")
    }
    measured = {k: v for k, v in data.metrics.items() if not k.startswith(("curve/", "system/"))}
    about = {"run_id": info.run_id, "status": info.status, "start_time": info.start_time, "end_time": info.end_time}
    return {**about, **data.params, **measured, **origin}


def _numeric(column: pd.Series[Any]) -> pd.Series[Any]:
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column  # a word among them: the column stays text


def newest(every: pd.DataFrame) -> pd.DataFrame:
    """The newest finished run of each combination, in the order of surrogate, target, fraction, seed."""
    finished = every[every["status"] == "FINISHED"].sort_values("start_time", kind="stable")
    return finished.drop_duplicates(gaps.KEY, keep="last").sort_values(gaps.KEY, ignore_index=True)


def _of_one_kind(every: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The runs on the data set and with the attack of the newest finished run, and a note on the others."""
    last = every[every["status"] == "FINISHED"].sort_values("start_time", kind="stable").iloc[-1]
    own = (every["dataset"] == last["dataset"]) & (every["attack"] == last["attack"])
    if own.all():
        return every, []
    other = counted(int((~own).sum()), "run")
    return every[own], [f"left out: {other} not on {last['dataset']} with {last['attack']}, as the newest run"]


def _unfinished(runs: Sequence[Run]) -> list[str]:
    """A note on each kind of end that runs without parameters came to."""
    ends = Counter(run.data.tags.get("error", run.info.status) for run in runs)
    return [f"{counted(count, 'run')} did not finish: {end}" for end, count in sorted(ends.items())]


def _curves(
    client: store.Client, every: pd.DataFrame, by_id: Mapping[str, Run]
) -> tuple[pd.DataFrame, dict[str, bytes], list[str]]:
    """The runs, their curves by run id, notes on damage. For a run without its curves an older one counts, or none."""
    texts: dict[str, bytes] = {}
    damage: dict[str, str] = {}
    while unread := [by_id[i] for i in newest(every)["run_id"] if i not in texts]:
        good, bad = checked.curves(client, unread)
        texts, damage = texts | good, damage | bad
        every = every.assign(status=every["status"].where(~every["run_id"].isin(bad), checked.DAMAGED))
    notes = checked.shortened(list(damage.values()))
    if not texts:
        raise UserError(f"study: expected finished runs with whole files, got none of {len(damage)}: {notes[0]}")
    return every, texts, notes


def curves_frame(texts: Sequence[bytes]) -> pd.DataFrame:
    """All curves in one table, columns ``CURVE_COLUMNS``; files with one header are parsed together, which is fast."""
    bodies: dict[bytes, list[bytes]] = {}
    for text in texts:
        header, _, body = text.replace(b"\r\n", b"\n").partition(b"\n")
        bodies.setdefault(header, []).append(body.rstrip(b"\n"))
    parts = [pd.read_csv(io.BytesIO(b"\n".join([header, *body]))) for header, body in bodies.items()]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CURVE_COLUMNS)
    frame = frame.reindex(columns=CURVE_COLUMNS)
    numbers = [c for c in CURVE_COLUMNS if c not in _TEXT_COLUMNS]
    frame[numbers] = frame[numbers].astype(float)
    return frame.astype({"seed": int}).assign(epsilon=frame["epsilon"].round(_DIGITS))


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
        rows = curves[curves["epsilon"] == epsilon].set_index(gaps.KEY)
        white = rows["whitebox_error"]
        found[f"whitebox_error_at_{epsilon:g}"] = white
        found[f"error_ratio_at_{epsilon:g}"] = rows["error"] / white.where(white > 0)
    logged = [name for name in map(str, runs) if name.startswith(("whitebox_error_at_", "error_ratio_at_"))]
    keys = pd.MultiIndex.from_frame(runs[gaps.KEY])
    values = {name: found[name].reindex(keys).to_numpy() if name in found else np.nan for name in logged}
    return runs.assign(**values)
