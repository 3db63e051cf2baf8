"""A study read from the tracking store: its runs as a table, checked, with their curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from mlflow.entities import Run

from transfer_exp.measures import registry
from transfer_exp.report import checked, earlier, factors, measured, repair
from transfer_exp.report import client as store
from transfer_exp.report.curves import curves_frame
from transfer_exp.report.factors import Slice, newest
from transfer_exp.report.study import Study, of_slices
from transfer_exp.types import UserError, counted

_AT_ONCE = 1000  # files whose text is held in memory
_UNNAMED = "unnamed"


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
        own = measured.recorded(good)
        with registry.extended(own.measures):
            every = factors.chosen(own.only_of_one_meaning(runs_frame(good, settings)), where or {})
            slices, strays, curves, damage = _slices(client, every, by_id)
            curves = own.only_of_one_meaning(curves)

        def command(run_id: str, seeds: Sequence[int]) -> str:
            typed = checked.files(client, [by_id[run_id]], "overrides.yaml").get(run_id)
            return repair.command(by_id[run_id], parents, typed, seeds)

        left_out = [*strange, *damage]
        counting = [run_id for each in slices for run_id in newest(each.runs)["run_id"]]
        lines = [*left_out, *_unfinished(unnamed), *strays, *own.notes, *own.lacking(counting)]
        with registry.extended(own.measures):
            made = of_slices(name=study, slices=slices, curves=curves, notes=lines, parents=parents, command=command)
        return replace(made, where=where or {}, left_out=tuple(left_out), measures=own.measures)


def recorded_numbers() -> list[str]:
    """The numbers that every run's row has: all scalars, the correlation at the reference epsilon, the time taken."""
    return [*registry.scalars(), "perturbation_correlation", "seconds"]


def runs_frame(found: Sequence[Run], settings: Mapping[str, Mapping[str, str]] | None = None) -> pd.DataFrame:
    """One row a run: identity, status, tags of origin, scalar measures (``recorded_numbers`` exist), settings as text.

    settings: parameters by run id, where they are not those that a run has recorded.
    """
    columns: dict[str, list[Any]] = {}  # all rows as dicts at once would take twice the room
    for place, run in enumerate(found):
        for name, value in _row(run, (settings or {}).get(run.info.run_id, run.data.params)).items():
            if name not in columns:
                columns[name] = [None] * len(found)
            columns[name][place] = value
    frame = pd.DataFrame(columns)
    frame = earlier.reconciled(frame, before=["scenario" not in run.data.tags for run in found])
    for column in [*recorded_numbers(), *(c for c in ("surrogate", "target") if c not in frame)]:
        if column not in frame:
            frame[column] = np.nan
    for role in ("surrogate", "target"):
        frame[role] = frame[role].astype(object).where(frame[role].notna() & (frame[role] != ""), _UNNAMED)
    for column in frame.columns.intersection(list(factors.SIZES)):
        frame[column] = _numeric(frame[column])
    return frame.astype({"surrogate_fraction": float, "seed": int}).copy()  # many columns one by one: in one piece again


def _row(run: Run, params: Mapping[str, str]) -> dict[str, Any]:
    info, data = run.info, run.data
    origin = {
        k: v
        for k, v in data.tags.items()
        if k in ("git_commit", "data_checksum", "signature", "not_known") or k.startswith(("version/", "source/"))
    }
    measured = {earlier.measure(k): v for k, v in data.metrics.items() if not k.startswith(("curve/", "system/"))}
    about = {"run_id": info.run_id, "status": info.status, "start_time": info.start_time, "end_time": info.end_time}
    about |= {"parent": data.tags.get("mlflow.parentRunId")}
    return {**about, **earlier.completed(params, data.tags), **measured, **origin}


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
