"""Bad input: every row of the table ends with a clear message and its exit code, and leaves nothing half done behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from bad_inputs import ROWS
from conftest import SMALL, Cli

from transfer_exp.report.__main__ import main as report


@pytest.mark.parametrize("name", ROWS)
def test_it_is_said_clearly_and_nothing_is_left_behind(
    name: str, cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROWS[name]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = row.words(tmp_path) if callable(row.words) else row.words
    given = files(tmp_path)
    if row.command == "report":
        rc, stderr = report(words), capsys.readouterr().err
    else:
        first = int(words[:1] == ["-m"])
        rc, _, stderr = cli(*words[:first], *fitting(words), *words[first:])
    assert rc == row.rc
    assert row.message in stderr
    assert "Traceback" not in stderr
    if row.also is None:
        assert stderr.startswith("error: ")
        assert stderr.count("\n") == 1
    else:
        assert row.also in stderr
    with closing(sqlite3.connect(root / "mlflow.db")) as database:  # of all studies, and quicker than by MLflow
        assert set(database.execute("SELECT status FROM runs")) <= {("FAILED",)}
    new = files(tmp_path) - given
    assert not [file for file in new if file.suffix in (".tmp", ".npz", ".part") or not file.is_relative_to(root)]


def fitting(words: list[str]) -> list[str]:
    """What makes the world small, less the options that another attack has not."""
    others = {"attack=evasion_add": ("attack.",), "attack=poisoning": ("attack.", "epsilon.")}
    left_out = tuple(prefix for word in words for prefix in others.get(word, ()))
    return [word for word in SMALL if not (left_out and word.startswith(left_out))]


def files(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file()}
