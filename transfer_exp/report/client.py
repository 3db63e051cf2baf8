"""Reading the tracking store: reach it, page through a study's runs, fetch one artifact of many runs."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from sqlalchemy.exc import SQLAlchemyError
from tqdm import tqdm

from transfer_exp.report import database
from transfer_exp.types import UserError

_PAGE = 1000
_PATIENCE = 5.0  # seconds; MLflow's own client would go on trying for minutes
_THREADS = 8


@contextmanager
def speaking_of(tracking_uri: str) -> Iterator[None]:
    """Turn what goes wrong in the tracking store into one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as failure:
        first_line = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise UserError(
            f"tracking_uri: expected a readable tracking store at {tracking_uri}, got: {first_line}"
        ) from failure


def connect(tracking_uri: str) -> MlflowClient:
    """A client of a store that exists and answers. Raises UserError otherwise (and creates nothing)."""
    parts = urlsplit(tracking_uri)
    if parts.scheme == "sqlite":
        file = Path(tracking_uri.removeprefix("sqlite:///"))
        if not file.is_file():
            raise UserError(
                f"tracking_uri: expected a tracking store at {file}, got no such file; "
                "run a study first or set root= or tracking_uri="
            )
    if parts.scheme in ("http", "https"):
        _answers(tracking_uri, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    with speaking_of(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri)


def _answers(tracking_uri: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError as failure:
        raise UserError(
            f"tracking_uri: expected a server that answers at {tracking_uri}, got: {failure}; start it or set tracking_uri="
        ) from failure


def experiment_id(client: MlflowClient, study: str) -> str:
    """Id of the study's experiment. Raises UserError, naming the studies there are, when there is none."""
    found = client.get_experiment_by_name(study)
    if found is None or found.lifecycle_stage != "active":
        names = sorted(e.name for e in client.search_experiments() if e.name != "Default")
        raise UserError(f"study: expected one of {', '.join(names) or 'no study yet'}, got {study}; run it first")
    return str(found.experiment_id)


def search(client: MlflowClient, experiment: str, kind: str, only: Collection[str] | None = None) -> list[Run]:
    """All runs of a kind (``study`` or ``combination``) of an experiment, oldest first, whatever their status.

    ``only``: those with these ids, at a cost that follows their number.
    """
    uri = str(client.tracking_uri)
    if uri.startswith("sqlite:///"):
        with contextlib.suppress(sqlite3.Error):  # another state of MLflow's tables: its own search knows them
            return database.search(Path(uri.removeprefix("sqlite:///")), experiment, kind, only)
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


def read_artifacts(client: MlflowClient, runs: Sequence[Run], name: str) -> dict[str, bytes]:
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


def _read(client: MlflowClient, run: Run, name: str) -> bytes | None:
    uri = str(run.info.artifact_uri)
    if urlsplit(uri).scheme in ("", "file"):
        file = Path(local_file_uri_to_path(uri)) / name  # type: ignore[no-untyped-call]
        return file.read_bytes() if file.is_file() else None
    if name not in {entry.path for entry in client.list_artifacts(run.info.run_id)}:
        return None
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, name, folder)).read_bytes()
