"""Runs straight from MLflow's tables, where the tracking store is a sqlite file.

MLflow's own search makes an object of every parameter, metric and tag: half a minute for ten thousand runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from sys import intern
from typing import Any

from mlflow.entities import Run, RunData, RunInfo

_RUNS = """SELECT run_uuid, experiment_id, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, name
    FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'
    AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'kind' AND value = ?){chosen}"""
_VALUES = {
    "params": "SELECT run_uuid, key, value FROM params WHERE run_uuid IN ({of})",
    "tags": "SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({of})",
    "metrics": """SELECT run_uuid, key, CASE is_nan WHEN 1 THEN NULL ELSE value END FROM latest_metrics
        WHERE run_uuid IN ({of})""",
}
_AT_ONCE = 500  # of sqlite's 999 variables


def search(file: Path, experiment: str, kind: str, only: Collection[str] | None) -> list[Run]:
    """As ``client.search``, from a sqlite file. Raises sqlite3.Error where its tables are not those of MLflow."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
        runs = {run.info.run_id: run for run in _runs(database, experiment, kind, only)}
        ids = list(runs)
        for i in range(0, len(ids), _AT_ONCE):
            _fill(database, {key: runs[key] for key in ids[i : i + _AT_ONCE]})
    return sorted(runs.values(), key=lambda run: (run.info.start_time, run.info.run_id))


def _runs(database: sqlite3.Connection, experiment: str, kind: str, only: Collection[str] | None) -> Iterator[Run]:
    names = list(only) if only is not None else []
    batches = [names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE)] if only is not None else [[]]
    for batch in batches:
        chosen = f" AND run_uuid IN ({', '.join('?' * len(batch))})" if only is not None else ""
        for run_id, of, user, status, start, end, stage, place, name in database.execute(
            _RUNS.format(chosen=chosen), (int(experiment), kind, *batch)
        ):
            info = RunInfo(run_id, str(of), user, status, start, end, stage, place, name)
            yield Run(info, RunData())


def _fill(database: sqlite3.Connection, runs: Mapping[str, Run]) -> None:
    of = ", ".join("?" * len(runs))
    for kind, query in _VALUES.items():
        values: Mapping[str, dict[str, Any]] = {run_id: getattr(run.data, kind) for run_id, run in runs.items()}
        for run_id, key, value in database.execute(query.format(of=of), tuple(runs)):
            text = intern(value) if isinstance(value, str) else value
            values[run_id][intern(key)] = float("nan") if text is None else text
