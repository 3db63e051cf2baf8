"""Reading the tracking store: reach it, page through a study's runs, fetch one artifact of many runs."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from tqdm import tqdm

from transfer_exp.report import database
from transfer_exp.report.snapshot import readable_copy
from transfer_exp.system.masking import masked
from transfer_exp.tracking import artifacts, connecting
from transfer_exp.types import UserError

_PAGE = 1000
_THREADS = 8
_log = logging.getLogger(__name__)


class Client(MlflowClient):
    """MLflow's client, which also knows where artifacts lie on this machine, and whether anything can be logged."""

    def __init__(self, address: str, *, home: Path | None, writable: bool) -> None:
        super().__init__(tracking_uri=address)
        self.home = home
        self.writable = writable


@contextmanager
def speaking_of(tracking_uri: str, expected: str = "expected a readable tracking store at") -> Iterator[None]:
    """Turn what goes wrong in the tracking store into one line."""
    try:
        yield
    except Exception as failure:
        if not connecting.is_trouble(failure):
            raise
        where = f"tracking_uri: {expected} {masked(tracking_uri)}"
        raise UserError(f"{where}, got: {connecting.reason_of(failure)}") from failure


def connect(tracking_uri: str) -> Client:
    """A client of a store that exists and answers. Raises UserError otherwise (and creates nothing).

    A database that may only be read is read from a copy in a temporary folder.
    """
    file = connecting.sqlite_file(tracking_uri)
    if connecting.is_server(tracking_uri):
        connecting.check_server(tracking_uri)
    if file is None:
        with speaking_of(tracking_uri):
            return Client(tracking_uri, home=None, writable=True)
    if not file.is_file():
        raise UserError(
            f"tracking_uri: expected a tracking store at {file}, got no such file; "
            "run a study first or set root= or tracking_uri="
        )
    connecting.check_database(file)
    home = artifacts.home_of(tracking_uri)
    writable = all(os.access(place, os.W_OK) for place in (file, file.parent))
    with speaking_of(tracking_uri):
        readable = file if writable else readable_copy(file)
        connecting.check_tables(readable)
        return Client(tracking_uri if writable else f"sqlite:///{readable}", home=home, writable=writable)


def experiment_id(client: Client, study: str) -> str:
    """Id of the study's experiment. Raises UserError, naming the studies there are, when there is none."""
    found = client.get_experiment_by_name(study)
    if found is None:
        names = sorted(e.name for e in client.search_experiments() if e.name != "Default")
        raise UserError(f"study: expected one of {', '.join(names) or 'no study yet'}, got {study}; run it first")
    if found.lifecycle_stage != "active":
        raise UserError(connecting.is_deleted(study, found.experiment_id, client.tracking_uri))
    return str(found.experiment_id)


def search(client: MlflowClient, experiment: str, kind: str, only: Collection[str] | None = None) -> list[Run]:
    """All runs of a kind (``study`` or ``combination``) of an experiment, oldest first, whatever their status.

    ``only``: those with these ids, at a cost that follows their number.
    """
    file = connecting.sqlite_file(str(client.tracking_uri))
    if file is not None:
        with contextlib.suppress(sqlite3.Error):  # another state of MLflow's tables: its own search knows them
            return database.search(file, experiment, kind, only)
    if only is not None:
        chosen = [run for run in map(client.get_run, only) if run.data.tags.get("kind") == kind]
        return sorted(chosen, key=lambda run: run.info.start_time)
    runs: list[Run] = []
    token: str | None = None
    with tqdm(desc=f"runs ({kind})", unit="run", disable=None, leave=False) as bar:
        while True:
            page = client.search_runs(
                [experiment], f"tags.kind = '{kind}'", ViewType.ACTIVE_ONLY, _PAGE, ["attributes.start_time ASC"], token
            )
            runs += page
            bar.update(len(page))
            token = page.token
            if not token:
                return runs


def log_folder(client: Client, run: Run, folder: Path, name: str) -> None:
    """Log all files of a folder to a run, as the folder ``name``; where nothing can be logged, say so."""
    if not client.writable:
        _log.warning("the tracking store may only be read: nothing is logged to the run of the study")
        return
    file = connecting.sqlite_file(client.tracking_uri)
    if file is not None:
        artifacts.repair(file)
    artifacts.log_folder(client, client.home, run.info.run_id, run.info.artifact_uri, folder, name)


def read_artifacts(client: Client, runs: Sequence[Run], name: str) -> dict[str, bytes]:
    """Content of one artifact of each run, by run id; runs that have none are left out.

    Artifacts on this machine are read where they lie; others are fetched by a few threads.
    """
    found: dict[str, bytes] = {}
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(total=len(runs), desc=name, unit="run", disable=None, leave=False) as bar,
    ):
        for run, content in zip(runs, pool.map(lambda run: _read(client, run, name), runs), strict=True):
            if content is not None:
                found[run.info.run_id] = content
            bar.update()
    return found


def _read(client: Client, run: Run, name: str) -> bytes | None:
    if artifacts.places(client.home, run.info.artifact_uri):
        return artifacts.read_local(client.home, run.info.artifact_uri, name)[1]
    if name not in {entry.path for entry in client.list_artifacts(run.info.run_id)}:
        return None
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, name, folder)).read_bytes()


def place_of(client: Client, run: Run, name: str) -> str:
    """Where a run's file lies, for a person who looks for it."""
    if artifacts.places(client.home, run.info.artifact_uri):
        return str(artifacts.read_local(client.home, run.info.artifact_uri, name)[0])
    return f"{name} of run {run.info.run_id}"
