"""MLflow, the record of what was done: one experiment a study, one run a combination, under one parent a sweep.

Uses only the client API, so that nothing depends on a global active run. Default store: sqlite in the root folder,
made once behind a lock (several processes migrating a fresh database at once would crash it). What is recorded holds
no credentials.
"""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Experiment, Run, RunTag
from mlflow.tracking import MlflowClient

from transfer_exp.system.commands import ui_command
from transfer_exp.system.locks import FileLock, acquire, release
from transfer_exp.system.masking import masked
from transfer_exp.system.signals import closing, hold_signals
from transfer_exp.tracking import artifacts, connecting, notes
from transfer_exp.tracking.database import configure_sqlite
from transfer_exp.tracking.logged import MAX_VALUE, Record, log_numbers, without_credentials
from transfer_exp.tracking.studies import study_folder
from transfer_exp.types import UserError

# Servers that did not answer this process: MLflow's client takes half a minute to see that again.
_in_doubt: set[str] = set()


class Tracker:
    """One study (an MLflow experiment) in one tracking store."""

    def __init__(self, *, uri: str | None, root: str | Path, study: str, is_reachable: bool = False) -> None:
        """Connect, making database and experiment when they are not there.

        ``uri`` None means sqlite in ``root``. ``is_reachable``: the server answered a moment ago. Raises UserError when the
        store cannot be reached or written.
        """
        self.root = Path(root).expanduser().absolute()
        self.uri = uri or connecting.sqlite_uri(self.root)
        self.study = study
        self._home = artifacts.home_of(self.uri)
        self._artifacts: dict[str, str] = {}  # the address of the files of runs started here
        if connecting.is_server(self.uri) and (not is_reachable or self.uri in _in_doubt):
            connecting.check_server(self.uri)
            _in_doubt.discard(self.uri)
        try:
            self._connect()
        except Exception as error:
            if not connecting.is_trouble(error):
                raise
            _in_doubt.add(self.uri)
            where = f"start the server ({ui_command()})" if connecting.is_server(self.uri) else "make room or mend it"
            raise UserError(
                f"tracking: expected a tracking store at {masked(self.uri)}, got {connecting.reason_of(error)}; "
                f"{where}, or set tracking.uri or MLFLOW_TRACKING_URI"
            ) from error

    def _connect(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        file = connecting.sqlite_file(self.uri)
        with FileLock(self.root / ".tracking.lock"):
            if file:
                configure_sqlite()
                connecting.prepare_sqlite(file)
            self.client = MlflowClient(self.uri)
            experiment = self.client.get_experiment_by_name(self.study) or self._new_experiment()
            if experiment.lifecycle_stage != "active":
                raise UserError(connecting.is_deleted(self.study, experiment.experiment_id, self.uri))
            self.experiment_id = experiment.experiment_id
            notes.open_as_training(self.client, experiment)
            if file and self._has_moved(experiment):
                artifacts.repair(file)

    def _new_experiment(self) -> Experiment:
        # Without an absolute location artifacts would go to the working directory; a server knows its own.
        folder = (self._home or self.root / "mlartifacts") / study_folder(self.study)
        location = None if connecting.is_server(self.uri) else folder.as_uri()
        return self.client.get_experiment(self.client.create_experiment(self.study, location, notes.TRAINING))

    def _has_moved(self, experiment: Experiment) -> bool:
        place = artifacts.place_at(self._home, experiment.artifact_location)
        return place is not None and place != artifacts.recorded_place(experiment.artifact_location)

    def find(self, *, status: str | None = None, **tags: str) -> str | None:
        """Id of the newest run with these tags (and status), or None."""
        parts = [f"tags.`{name}` = '{value}'" for name, value in tags.items()]
        parts += [f"attributes.status = '{status}'"] if status else []
        with self._reached():
            runs = self.client.search_runs([self.experiment_id], " and ".join(parts), max_results=1)
        return runs[0].info.run_id if runs else None

    def find_finished(self, signature: str, **tags: str) -> str | None:
        """Id of the newest finished run of a combination with these tags whose files are whole, or None.

        Whether files are whole is asked as far as that is known here.
        """
        query = f"tags.signature = '{signature}' and attributes.status = 'FINISHED'"
        with self._reached():
            runs = self.client.search_runs([self.experiment_id], query)
        wanted = {name: masked(value) for name, value in tags.items()}
        having = (run for run in runs if wanted.items() <= run.data.tags.items())
        whole = (run for run in having if artifacts.are_whole(self._home, run.info.artifact_uri, run.data.tags))
        return next((str(run.info.run_id) for run in whole), None)

    def start(self, name: str, *, tags: Mapping[str, str], parent: str | None = None) -> str:
        """Create a run that is RUNNING; returns its id."""
        nesting = {"mlflow.parentRunId": parent} if parent else {}
        safe = {key: masked(value) for key, value in tags.items()}
        with self._reached():
            run = self.client.create_run(self.experiment_id, run_name=name, tags={**safe, **nesting})
        self._artifacts[run.info.run_id] = run.info.artifact_uri
        return str(run.info.run_id)

    def reopen(self, run_id: str) -> None:
        """Let a run that ended go on: RUNNING again, without the reason why it failed."""
        with self._reached():
            self.client.update_run(run_id, status="RUNNING")
            if "error" in self.client.get_run(run_id).data.tags:
                self.client.delete_tag(run_id, "error")

    def finish(self, run_id: str, status: str) -> None:
        """End a run as FINISHED, FAILED or KILLED. As ``find``, ``start`` and ``log``, raises UserError when it cannot."""
        with self._reached():
            self.client.set_terminated(run_id, status=status)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn a store that went away, or is full, into a UserError."""
        try:
            yield
        except Exception as error:
            if not connecting.is_trouble(error):
                raise
            _in_doubt.add(self.uri)
            raise UserError(
                f"tracking: expected {masked(self.uri)} to answer and to take what is logged, got "
                f"{connecting.reason_of(error)}; when it does again, type the same command to go on"
            ) from error

    def close_dead(self) -> list[str]:
        """End as KILLED the runs that were left RUNNING by processes that are gone; returns their ids.

        A run names in its tag ``lock`` the lock that its process holds. Runs whose lock lies on another machine stay.
        """
        with self._reached():
            runs = self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'")
            return [run.info.run_id for run in runs if self._close_if_dead(run)]

    def _close_if_dead(self, run: Run) -> bool:
        file = Path(run.data.tags.get("lock", ""))
        try:
            if not file.is_file():
                return False
            lock = acquire(file, blocking=False)
        except OSError:  # the lock is held: it lives; or it lies where nothing can be written: it is somebody else's
            return False
        try:
            return self._close_if_running(run)
        finally:
            release(lock)

    def close_left(self, lock: str | Path) -> None:
        """End as KILLED the runs that name a lock, which this process has taken after one that left its file behind."""
        with self._reached():
            for run in self.client.search_runs([self.experiment_id], "attributes.status = 'RUNNING'"):
                if run.data.tags.get("lock") == str(lock):
                    self._close_if_running(run)

    def _close_if_running(self, run: Run) -> bool:
        if self.client.get_run(run.info.run_id).info.status != "RUNNING":  # it ended meanwhile
            return False
        self._kill(run.info.run_id, "killed: its process ended without closing it")
        return True

    def _kill(self, run_id: str, reason: str) -> None:
        self.log_reason(run_id, reason)
        self.finish(run_id, "KILLED")

    def log_reason(self, run_id: str, reason: str) -> None:
        """Log the reason of a bad end as the tag ``error``."""
        with self._reached():
            self.client.log_batch(run_id, tags=[RunTag("error", masked(reason)[:MAX_VALUE])])

    def log(self, run_id: str, record: Record) -> None:
        """Log everything of a record, the numbers in as few requests as MLflow takes."""
        files = without_credentials(record.files)
        with self._reached():
            log_numbers(self.client, run_id, record, files)
        if files:
            self.log_files(run_id, files)

    def log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Log files by name, ``/`` for folders."""
        with self._reached():
            uri = self._artifacts.get(run_id) or self.client.get_run(run_id).info.artifact_uri
            artifacts.log_files(self.client, self._home, run_id, uri, files)

    @contextlib.contextmanager
    def run(
        self, name: str, *, tags: Mapping[str, str], params: Mapping[str, Any] | None = None, parent: str | None = None
    ) -> Iterator[str]:
        """A run that ends FINISHED, or FAILED with the reason as tag and the traceback as file, or KILLED.

        Tags and ``params`` are logged when it starts, so that one that is cut short says what it was.
        """
        # A signal that ended the program between the birth of the run and the ``try`` would leave it open.
        release_signals = hold_signals()
        try:
            run_id = self.start(name, tags=tags, parent=parent)
        except BaseException:
            release_signals()
            raise
        try:
            with closing(lambda reason: self._kill(run_id, reason)):
                release_signals()
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
        self.log_reason(run_id, f"{type(error).__name__}: {error}")
        text = io.StringIO()
        traceback.print_exception(error, file=text)
        self.log_files(run_id, without_credentials({"traceback.txt": text.getvalue().encode()}))
