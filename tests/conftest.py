"""What the tests share: strict numbers, an own root folder, the command line in this process or in another."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

import transfer_exp
from transfer_exp.tracking.connecting import sqlite_uri
from transfer_exp.tracking.tracker import Tracker

# The same examples on every machine and every day; others by: pytest --hypothesis-profile=explore
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("repeatable")

PACKAGE = Path(transfer_exp.__file__).parent
SOURCE = PACKAGE.parent

# A combination that takes a fraction of a second: the world is small, the code is the real one.
SMALL = (
    "surrogate=ridge_high",
    "target=ridge_low",
    "epsilon.grid=[0,0.5]",
    "epsilon.reference=0.5",
    "epsilon.shown=[0.5]",
    "dataset.split.test=20",
    "n_variability=2",
    "attack.n_iter=5",
)


class Ended(NamedTuple):
    """How a command ended."""

    rc: int
    stdout: str
    stderr: str


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("data") and not os.environ.get("TRANSFER_EXP_DATA"):
        pytest.skip("needs real data: set TRANSFER_EXP_DATA to the folder that holds it")


@pytest.fixture(autouse=True)
def _strict_numbers() -> Iterator[None]:
    with np.errstate(invalid="raise", divide="raise", over="raise"):
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh sqlite tracking store: making one takes seconds, copying it does not."""
    root = tmp_path_factory.mktemp("database")
    Tracker(uri=None, root=root, study="Default")
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder for results; the environment of the person who runs the tests plays no part."""
    folder = tmp_path / "root"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.setenv("TRANSFER_EXP_ROOT", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


Cli = Callable[..., Ended]


@pytest.fixture
def cli(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """The command line in this process (no seconds of imports), results in ``root``."""
    from transfer_exp.__main__ import main

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["transfer-exp", *words])
        capsys.readouterr()
        rc = 0
        try:
            main()
        except SystemExit as leaving:
            rc = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
            if isinstance(leaving.code, str):
                print(leaving.code, file=sys.stderr)  # as the interpreter does
        captured = capsys.readouterr()
        return Ended(rc, captured.out, captured.err)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.getLogger().handlers.clear()  # Hydra's own, on streams that end with the test
    for name in ("transfer_exp", "transfer_exp.work"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.getLogger("transfer_exp.scenarios.remarks").filters.clear()


def subprocess_cli(*words: str, cwd: Path, **environment: str) -> Ended:
    """The command line as a user starts it; a few seconds, most of them imports."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("TRANSFER_EXP_ROOT", "MLFLOW_TRACKING_URI")}
    done = subprocess.run(
        [sys.executable, "-m", "transfer_exp", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(SOURCE), **environment},
        timeout=300,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def runs(root: Path, study: str = "single", **tags: Any) -> list[Run]:
    """All runs of a study with these tags, oldest first."""
    client = MlflowClient(sqlite_uri(root))
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return []
    query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return list(client.search_runs([experiment.experiment_id], query, order_by=["attributes.start_time ASC"]))
