"""`make bench` itself: its quick mode runs every kind of bench and prints the table. Not a test of speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_quick_mode_prints_one_table_of_all_benches() -> None:
    for extra in ("pytest_benchmark", "foolbox", "art", "torchattacks"):
        pytest.importorskip(extra, reason="expected the extra `bench`: pip install -e '.[bench]'")
    command = [sys.executable, "-m", "pytest", "-c", "benchmarks/pytest.ini", "benchmarks", "--quick"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    for line in (
        "crafting",
        "foolbox / ours",
        "art / ours",
        "retraining and",
        "empty store",
        "warm store",
        "shell to exit",
        "warm combinations",
        "rbf, support vectors",
        "narrow kernel",
        "mean margin beyond the boundary",
        "x its passes",
        "trainings side by side",
    ):
        assert line in done.stdout, line


def test_full_size_without_data_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytest_benchmark", reason="expected the extra `bench`: pip install -e '.[bench]'")
    environment = {name: value for name, value in os.environ.items() if name != "TRANSFER_EXP_DATA"}
    command = [sys.executable, "-m", "pytest", "-c", "benchmarks/pytest.ini", "benchmarks"]
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "expected TRANSFER_EXP_DATA" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
