"""Reaching a tracking store: sqlite in a file, or a server with whatever credentials MLflow's own client takes.

What goes wrong here is one line for the user: ``TROUBLE`` lists what libraries raise, ``reason_of`` says it in words.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sqlite3
import time
import uuid
from pathlib import Path
from urllib.parse import unquote

import requests
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from transfer_exp.system.commands import ui_command
from transfer_exp.system.masking import masked
from transfer_exp.types import UserError

PATIENCE_SECONDS = 5.0
"""For an answer to one question whether a server is well; MLflow's own client would go on trying for minutes."""
PAUSES_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Between such questions, where the server asks for patience."""
_PASSING = {429, 500, 502, 503, 504}
_SQLITE = "sqlite:///"
_MAX_REASON = 200

# MLflow would log a traceback of its own for each request that a full database refuses; one line for each job is ours.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

TROUBLE = (OSError, sqlite3.Error, requests.RequestException, MlflowException)
"""What a tracking store that is out of reach, damaged or full makes the libraries raise (of SQLAlchemy: ``is_trouble``)."""


def is_trouble(error: BaseException) -> bool:
    """Whether an error comes from the tracking store, not from us."""
    # Named by its home: importing SQLAlchemy takes a quarter of a second, which a server's client does not need.
    return isinstance(error, TROUBLE) or type(error).__module__.startswith("sqlalchemy.")


def reason_of(error: BaseException) -> str:
    """The first line of an error, without credentials, and its type."""
    first = (str(error).strip() or "no answer").splitlines()[0]
    first = first.rpartition("(Caused by ")[2]  # of urllib3, at the end of a long line of MLflow
    return f"{masked(first)[:_MAX_REASON]} ({type(error).__name__})"


def is_server(uri: str) -> bool:
    """Whether the address is one of a server, which keeps artifacts itself."""
    return uri.startswith(("http://", "https://"))


def sqlite_uri(root: str | Path) -> str:
    """Address of the database in a folder."""
    return _address(Path(root).expanduser().absolute() / "mlflow.db")


def default_uri(root: Path) -> str:
    """The store that the variable MLFLOW_TRACKING_URI names, else the database in the root folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(root)


def _address(file: Path) -> str:
    return _SQLITE + str(file).replace("%", "%25").replace("?", "%3F")  # the others are taken as they are


def sqlite_file(uri: str) -> Path | None:
    """The file of an sqlite address; None for any other."""
    return Path(unquote(uri.removeprefix(_SQLITE))).absolute() if uri.startswith(_SQLITE) else None


def check_server(uri: str) -> None:
    """Ask a server whether it is well, again with growing pauses where it is busy.

    Raises UserError when it does not answer, at once, or answers anything else.
    """
    for pause in (*PAUSES_SECONDS, None):
        status, reason = _health(uri)
        if status == requests.codes.ok:
            return
        if status not in _PASSING or pause is None:
            break
        time.sleep(pause)
    raise UserError(
        f"tracking: expected a tracking store at {masked(uri)}, got {reason}; "
        f"start the server ({ui_command()}), or set tracking.uri or MLFLOW_TRACKING_URI"
    )


def _health(uri: str) -> tuple[int | None, str]:
    """Status of one answer, None without any, and what was got in words."""
    try:
        credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
        options = {"max_retries": 0, "timeout": PATIENCE_SECONDS, "raise_on_status": False}
        answer = http_request(credentials, "/health", "GET", **options)  # type: ignore[no-untyped-call]
    except (requests.RequestException, MlflowException, OSError, ValueError) as error:
        cause = error.__cause__ or error.__context__ or error
        innermost = getattr(
            cause.args[0] if cause.args else cause, "reason", None
        )  # of urllib3, below requests, below MLflow
        return None, f"no answer ({type(innermost or cause).__name__})"
    refused = " (are MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, right?)"
    hint = refused if answer.status_code in (401, 403) else ""
    return answer.status_code, f"the answer {answer.status_code} {answer.reason}{hint}"


def is_deleted(study: str, experiment_id: str, uri: str) -> str:
    """What to say of a study whose experiment was deleted, with the command that restores it."""
    where = "" if os.environ.get("MLFLOW_TRACKING_URI") == uri else f"MLFLOW_TRACKING_URI={shlex.quote(masked(uri))} "
    return (
        f"study: expected an active MLflow experiment, got {study}, which is deleted; to restore it: "
        f"{where}mlflow experiments restore --experiment-id {experiment_id}"
    )


def check_database(file: Path) -> None:
    """Raise UserError where the file is empty, as after a disk was full or a copy was interrupted."""
    if file.is_file() and not file.stat().st_size:
        raise UserError(
            f"tracking: expected a database of MLflow, got {file}, which is empty (0 bytes); restore it from a copy, or "
            "remove it to begin anew"
        )


def check_tables(file: Path) -> None:
    """Raise UserError for a database of something else, where MLflow would make tables, sqlite3.Error for no database."""
    with contextlib.closing(sqlite3.connect(file, timeout=10)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            raise UserError(
                f"tracking: expected a database of MLflow, got {file}, which is one of something else; name another"
            )


def prepare_sqlite(file: Path) -> None:
    """Create the database in this one process, whole or not at all; let readers and a writer work at the same time."""
    check_database(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        # A name of its own: MLflow would take up again what it had opened under the same name in an attempt that failed.
        fresh = file.with_name(f".{file.name}.tmp{uuid.uuid4().hex}")
        _remove(file.with_name(f".{file.name}.tmp"))  # left by a process that was killed here
        try:
            MlflowClient(_address(fresh)).search_experiments(max_results=1)
            fresh.replace(file)
        finally:
            _remove(fresh)
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
        database.execute("PRAGMA journal_mode=WAL")


def _remove(fresh: Path) -> None:
    for left in fresh.parent.glob(f"{fresh.name}*"):
        left.unlink()
