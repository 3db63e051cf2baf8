"""MLflow, the record of what was done: one experiment a study, one run a combination, under one parent a sweep.

Uses only the client API, so that nothing depends on a global active run. Default store: sqlite in the root folder,
made once behind a lock (several processes migrating a fresh database at once would crash it).
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import signal
import sqlite3
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")  # half a minute in all; MLflow's own 7 are four

import requests
from filelock import FileLock, Timeout
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from transfer_exp.database import tend_sqlite
from transfer_exp.ending import closing
from transfer_exp.types import UserError

_PATIENCE_SECONDS = 5.0
_MAX_METRICS = 900  # MLflow takes at most 1,000 in one batch
_MAX_VALUE = 500
_ENDING = {signal.SIGINT, signal.SIGTERM}


@dataclass(kw_only=True)
class Record:
    """What a run is to log: parameters, scalars, curves over the grid, text and binary files."""

    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class Tracker:
    """One study (an MLflow experiment) in one tracking store."""

    def __init__(self, *, uri: str | None, root: str | Path, study: str) -> None:
        """Connect, making database and experiment when they are not there.

        ``uri`` None means sqlite in ``root``. Raises UserError when the store cannot be reached or written.
        """
        self.root = Path(root).expanduser().absolute()
        self.uri = uri or f"sqlite:///{self.root / 'mlflow.db'}"
        self.study = study
        try:
            self._connect()
        except (OSError, sqlite3.Error, requests.RequestException, MlflowException) as error:
            reason = (
                "no answer" if isinstance(error, requests.RequestException) else str(error).strip().splitlines()[0][:200]
            )
            raise UserError(
                f"tracking: expected a tracking store at {self.uri}, got {reason} ({type(error).__name__}); "
                "start the server (make ui), or set tracking.uri or MLFLOW_TRACKING_URI"
            ) from error

    def _connect(self) -> None:
        remote = self.uri.startswith("http")
        if remote:
            requests.get(f"{self.uri.rstrip('/')}/health", timeout=_PATIENCE_SECONDS).raise_for_status()
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".tracking.lock"):
            if self.uri.startswith("sqlite:///"):
                tend_sqlite()
                _prepare_sqlite(Path(self.uri.removeprefix("sqlite:///")))
            self.client = MlflowClient(self.uri)
            experiment = self.client.get_experiment_by_name(self.study)
            if experiment is None:
                # Without an absolute location artifacts would go to the working directory; a server knows its own.
                location = None if remote else (self.root / "mlartifacts" / self.study).as_uri()
                self.experiment_id = self.client.create_experiment(self.study, artifact_location=location)
            elif experiment.lifecycle_stage != "active":
                raise UserError(
                    f"study: expected an active MLflow experiment, got {self.study}, which is deleted; restore it"
                )
            else:
                self.experiment_id = experiment.experiment_id

    def find(self, *, status: str | None = None, **tags: str) -> str | None:
        """Id of the newest run with these tags (and status), or None."""
        parts = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        parts += [f"attributes.status = '{status}'"] if status else []
        with self._reached():
            runs = self.client.search_runs([self.experiment_id], " and ".join(parts), max_results=1)
        return runs[0].info.run_id if runs else None

    def start(self, name: str, *, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Create a run that is RUNNING; returns its id."""
        nesting = {"mlflow.parentRunId": parent} if parent else {}
        with self._reached():
            run = self.client.create_run(self.experiment_id, run_name=name, tags={**tags, **nesting})
        return str(run.info.run_id)

    def finish(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED. As ``find``, ``start`` and ``log``, raises UserError when it cannot."""
        with self._reached():
            self.client.set_terminated(run_id, status=status)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn a store that went away, or is full, into a UserError."""
        try:
            yield
        except (OSError, requests.RequestException, MlflowException) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise UserError(
                f"tracking: expected {self.uri} to answer and to take what is logged, got {reason}; when it does again, "
                "type the same command to go on"
            ) from error

    def close_dead(self) -> list[str]:
        """End as KILLED the runs that were left RUNNING by processes that are gone; returns their ids.

        A run names in its tag ``lock`` the lock that its process holds. Runs whose lock lies on another machine stay.
        """
        runs = self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'")
        return [run.info.run_id for run in runs if self._close_if_dead(run)]

    def _close_if_dead(self, run: Run) -> bool:
        lock = Path(run.data.tags.get("lock", ""))
        if not lock.is_file():
            return False
        try:
            with FileLock(lock, blocking=False):
                if self.client.get_run(run.info.run_id).info.status != "RUNNING":  # it ended meanwhile
                    return False
                self._kill(run.info.run_id, "killed: its process ended without a word")
                return True
        except Timeout:
            return False

    def _kill(self, run_id: str, reason: str) -> None:
        self.client.log_batch(run_id, tags=[RunTag("error", reason)])
        self.finish(run_id, "KILLED")

    def log(self, run_id: str, record: Record) -> None:
        """Log everything of a record, the numbers in as few requests as MLflow takes."""
        with self._reached():
            self._log(run_id, record)

    def _log(self, run_id: str, record: Record) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(k, float(v), now, 0) for k, v in record.metrics.items() if math.isfinite(v)]
        for name, values in record.curves.items():
            metrics += [Metric(f"curve/{name}", v, now, k) for k, v in enumerate(values) if math.isfinite(v)]
        params = [Param(key, str(value)[:_MAX_VALUE]) for key, value in record.params.items()]
        self.client.log_batch(run_id, metrics[:_MAX_METRICS], params)
        for i in range(_MAX_METRICS, len(metrics), _MAX_METRICS):
            self.client.log_batch(run_id, metrics[i : i + _MAX_METRICS])
        if record.files:
            self.log_files(run_id, record.files)

    def log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Log files by name, ``/`` for folders."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self.client.log_artifacts(run_id, folder)

    @contextlib.contextmanager
    def run(
        self, name: str, *, tags: Mapping[str, str], params: Mapping[str, Any] | None = None, parent: str | None = None
    ) -> Iterator[str]:
        """A run that ends FINISHED, or FAILED with the reason as tag and the traceback as file, or KILLED.

        Tags and ``params`` are logged when it starts, so that one that is cut short says what it was.
        """
        # A signal that ended the program between the birth of the run and the ``try`` would leave it open.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            run_id = self.start(name, tags=tags, parent=parent)
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            raise
        try:
            with closing(lambda reason: self._kill(run_id, reason)):
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                if params:
                    self.log(run_id, Record(params=dict(params)))
                yield run_id
                self.finish(run_id, "FINISHED")
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            with contextlib.suppress(Exception):  # the error itself is what must be seen
                self._explain(run_id, error)
            with contextlib.suppress(UserError):
                self.finish(run_id, status)
            raise

    def _explain(self, run_id: str, error: BaseException) -> None:
        reason = f"{type(error).__name__}: {error}"[:_MAX_VALUE]
        self.client.log_batch(run_id, tags=[RunTag("error", reason)])
        text = io.StringIO()
        traceback.print_exception(error, file=text)
        self.log_files(run_id, {"traceback.txt": text.getvalue().encode()})


def _prepare_sqlite(file: Path) -> None:
    """Create the database in this one process, whole or not at all; let readers and a writer work at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        fresh = file.with_name(f".{file.name}.tmp")
        for left in file.parent.glob(f"{fresh.name}*"):  # by a process that was killed here
            left.unlink()
        MlflowClient(f"sqlite:///{fresh}").search_experiments(max_results=1)
        fresh.replace(file)
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
        database.execute("PRAGMA journal_mode=WAL")
