"""MLflow's page on the results in use: ``python -m transfer_exp.ui`` (``make ui``)."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from transfer_exp.system.commands import results_root, run_command
from transfer_exp.system.masking import masked
from transfer_exp.tracking import artifacts, connecting
from transfer_exp.types import UserError

_PLACE = ("--host", "127.0.0.1", "--port", "5000")  # this machine only


def command(arguments: Sequence[str]) -> list[str]:
    """The command that opens the page, after artifacts of a results folder that was moved were found again.

    ``arguments`` are added to it. Raises UserError where there is nothing to show, or a server that shows it itself.
    """
    uri = connecting.default_uri(results_root())
    if connecting.is_server(uri):
        raise UserError(f"MLFLOW_TRACKING_URI: expected a database, got a server, which has a page itself: {masked(uri)}")
    file = connecting.sqlite_file(uri)
    if file is not None:
        _find_artifacts(file)
    return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *_PLACE, *arguments]


def _find_artifacts(file: Path) -> None:
    if not file.is_file():
        raise UserError(f"expected results at {file}, got no such file; run something first, or set TRANSFER_EXP_ROOT")
    connecting.check_database(file)
    try:
        artifacts.repair(file)
    except sqlite3.Error as error:
        raise UserError(
            f"expected a database that can be written, got {file} ({error}); MLflow's page writes to it"
        ) from error


def _open(arguments: Sequence[str]) -> int:
    """Become the page's server."""
    words = command(arguments)
    os.execv(words[0], words)  # noqa: S606  (no shell: paths may hold spaces)


if __name__ == "__main__":
    sys.exit(run_command(_open, None))
