"""Results that were moved, copied or mounted elsewhere: read, continued and shown as before, the old place untouched."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL, SOURCE, Cli, runs
from mlflow import MlflowClient
from synthetic_study import grid, write_store
from test_bad_worlds import mounted

from transfer_exp import ui
from transfer_exp.report.__main__ import main as report
from transfer_exp.report.records import load
from transfer_exp.system.commands import ui_command
from transfer_exp.tracking.artifacts import repair
from transfer_exp.tracking.connecting import sqlite_uri
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import UserError

SWEEP = ("-m", *SMALL, "study=group/tiny", "surrogate=ridge_high,ridge_low")


def content(folder: Path) -> dict[str, bytes]:
    """All files but the index of the write-ahead log, which the tests' own connections change."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix != ".db-shm")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def copy_database(root: Path, place: Path) -> None:
    place.mkdir()
    with closing(sqlite3.connect(root / "mlflow.db")) as source, closing(sqlite3.connect(place / "mlflow.db")) as target:
        source.backup(target)


@pytest.mark.parametrize("how", ["moved", pytest.param("copied", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_report_and_resume_work_there_and_touch_nothing_here(
    how: str, cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*SWEEP).rc == 0
    (summary,) = (root / "mlartifacts").rglob("error_matrix_eps0.5_fraction1.csv")
    before, here = summary.read_text(), content(root)
    assert "ridge_high,0." in before  # not an empty matrix
    place = tmp_path / "elsewhere? 100%20 #1" / "results"
    place.parent.mkdir()
    shutil.move(root, place) if how == "moved" else shutil.copytree(root, place)
    monkeypatch.setenv("TRANSFER_EXP_ROOT", str(place))

    assert report(["study=group/tiny"]) == 0
    table = place / "reports" / "group%2Ftiny" / "tables" / "error_matrix_eps0.5_fraction1.csv"
    assert table.read_text() == before
    ended = cli(*SWEEP)
    assert ended.rc == 0, ended.stderr
    assert "skipped 2 of 2 combinations" in ended.stderr
    assert cli(*SWEEP, "seed=1").rc == 0  # new runs
    assert not root.exists() if how == "moved" else content(root) == here
    # MLflow itself, which knows nothing of all this, finds every file.
    client = MlflowClient(sqlite_uri(place))
    found = runs(place, "group/tiny")
    assert len(found) == 2 * (1 + 2)
    for run in found:
        expected = "curves.csv" if run.data.tags["kind"] == "combination" else "summary"
        assert expected in {entry.path for entry in client.list_artifacts(run.info.run_id)}
    parent = next(run for run in found if run.data.tags["kind"] == "study")
    page = Path(client.download_artifacts(parent.info.run_id, "report/report.html"))
    assert page.read_bytes() == (place / "reports" / "group%2Ftiny" / "report.html").read_bytes()


@pytest.mark.slow
def test_a_root_that_may_only_be_read_is_reported_elsewhere(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    here = content(planted)
    with mounted(planted, "--bind", str(planted)) as again:
        again("ro", "bind")
        assert report(["study=planted", f"root={planted}", f"out={tmp_path / 'mine'}"]) == 0
        assert report(["study=planted", f"root={planted}"]) == 2  # its own folder cannot be written, in one line
    assert content(planted) == here
    assert len(pd.read_csv(tmp_path / "mine" / "curves.csv")) == 2 * 11
    assert "may only be read: nothing is logged" in caplog.text


def test_a_write_ahead_log_that_may_only_be_read_is_read_too(root: Path) -> None:
    """Another user's root while a sweep is at work there: its newest runs are in the log, not yet in the database."""
    Tracker(uri=None, root=root, study="busy")
    with closing(sqlite3.connect(root / "mlflow.db")) as held:
        held.execute("SELECT count(*) FROM runs").fetchall()  # as long as it is open, the log is not emptied
        uri = write_store(root, "busy", grid(["ridge_low"], ["ridge_low"], [1.0], [0, 1]), images=False)
        assert (root / "mlflow.db-wal").stat().st_size
        with mounted(root, "--bind", str(root)) as again:
            again("ro", "bind")
            assert len(load(tracking_uri=uri, study="busy").runs) == 2


@pytest.fixture
def planted(root: Path) -> Path:
    write_store(root, "planted", grid(["ridge_low"], ["ridge_low", "svm_low"], [1.0], [0]), images=False)
    return root


def uris(root: Path) -> list[str]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("planted")
    assert experiment is not None
    return [experiment.artifact_location, *(run.info.artifact_uri for run in client.search_runs([experiment.experiment_id]))]


def test_repair_names_the_folder_in_use_and_leaves_what_was_left_behind(planted: Path, tmp_path: Path) -> None:
    assert repair(planted / "mlflow.db") == 0
    alone = tmp_path / "database alone"
    copy_database(planted, alone)
    # New runs go there, and what is logged to the parent, which had no files; those of the others are where they were.
    assert repair(alone / "mlflow.db") == 1 + 1
    first, *others = uris(alone)
    assert first == (alone / "mlartifacts" / "planted").as_uri()
    assert len(set(others) & set(uris(planted))) == 2
    place = planted.rename(tmp_path / "whole")
    assert repair(place / "mlflow.db") == 1 + 1 + 2
    assert all(uri.startswith((place / "mlartifacts" / "planted").as_uri()) for uri in uris(place))
    assert repair(place / "mlflow.db") == 0


def test_files_of_a_run_are_found_where_they_were_left(planted: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    copy_database(planted, alone)
    study = load(tracking_uri=f"sqlite:///{alone}/mlflow.db", study="planted")
    assert study.left_out == ()
    assert len(study.curves) == 2 * 11


def test_the_page_shows_the_root_in_use(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = planted.rename(tmp_path / "a root with spaces")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("TRANSFER_EXP_ROOT", str(place))
    words = ui.command(["--port", "5001"])
    assert words[words.index("--backend-store-uri") + 1] == f"sqlite:///{place}/mlflow.db"
    assert words[-2:] == ["--port", "5001"]
    assert uris(place)[0] == (place / "mlartifacts" / "planted").as_uri()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TRANSFER_EXP_ROOT", "/nowhere", "expected results at /nowhere/mlflow.db, got no such file"),
        ("MLFLOW_TRACKING_URI", "https://me:secret@host:5000", "which has a page itself: https://\\*\\*\\*@host:5000"),
    ],
)
def test_a_page_that_cannot_be_opened_says_why(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError, match=said):
        ui.command([])


def test_the_page_is_opened_by_a_command_that_works_where_the_hint_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SOURCE)
    assert ui_command() == "make ui"
    (tmp_path / "Makefile").touch()  # of something else
    monkeypatch.chdir(tmp_path)
    assert ui_command() == "python -m transfer_exp.ui"


def test_make_ui_hands_on_a_root_with_spaces(tmp_path: Path) -> None:
    """The recipe, with a Python that says how it was called."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@ in $TRANSFER_EXP_ROOT"\n')
    python.chmod(0o755)
    (tmp_path / ".ready").touch()
    done = subprocess.run(
        ["make", "-s", "ui", f"VENV={tmp_path}", f"READY={tmp_path / '.ready'}", "-o", str(tmp_path / ".ready")],
        cwd=Path(__file__).parent.parent,
        env={"PATH": "/usr/bin:/bin", "TRANSFER_EXP_ROOT": "/a root"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "-m transfer_exp.ui in /a root\n"
