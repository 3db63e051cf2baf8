"""Sweeps killed again and again, many workers, several sweeps at once: every combination is done once, the same bits."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from conftest import SMALL, SOURCE, runs
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.slow

FLEETING = {"seconds", "store/hits", "store/misses", "store/bytes"}
THREE = "ridge_high,ridge_low,logistic_low"


def start(*words: str, root: Path, **environment: str) -> subprocess.Popen[str]:
    """A sweep in a process group of its own; what it says goes to ``<root>.log``."""
    inherited = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment = {**inherited, "PYTHONPATH": str(SOURCE), "TRANSFER_EXP_ROOT": str(root), **environment}
    with root.with_suffix(".log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "transfer_exp", *words],
            cwd=root,
            env=environment,
            stderr=log,
            stdout=log,
            text=True,
            start_new_session=True,
        )


def outcomes(found: list[Run]) -> dict[str, dict[str, float]]:
    """Signature -> metrics of the FINISHED runs; each signature has exactly one."""
    finished = [run for run in found if run.info.status == "FINISHED"]
    assert max(Counter(run.data.tags["signature"] for run in finished).values()) == 1
    return {run.data.tags["signature"]: {k: v for k, v in run.data.metrics.items() if k not in FLEETING} for run in finished}


def assert_nothing_is_left(root: Path) -> None:
    assert not [file for file in (root / "store").rglob("*") if file.suffix not in (".npz", ".lock") and file.is_file()]
    assert not list(root.glob(".mlflow.db.tmp*"))


def at_work(root: Path, since: float) -> bool:
    """Whether a combination was begun after this time and is not ended."""
    found = runs(root, "tiny", kind="combination")
    return any(run.info.status == "RUNNING" and run.info.start_time / 1000 > since for run in found)


def wait_for_a_moment(sweep: subprocess.Popen[str], root: Path, moments: random.Random, *, at_start: bool) -> None:
    """Until some time within the start of a sweep, or within the work of its first combinations that were not done yet."""
    begin = time.time()
    while not at_start and sweep.poll() is None and not at_work(root, begin):
        time.sleep(0.01)
    deadline = time.monotonic() + moments.uniform(0, 6 if at_start else 0.6)
    while sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_sweep_that_is_killed_twenty_times_ends_as_one_that_was_not(root: Path, tmp_path: Path) -> None:
    words = ("-m", *SMALL, "study=tiny", "surrogate=ridge_high,logistic_low", "target=ridge_low,svm_low", "seed=range(0,10)")
    workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    moments = random.Random(1)
    for k in range(20):
        sweep = start(*words, *(workers if k % 4 == 3 else ()), root=root)
        wait_for_a_moment(sweep, root, moments, at_start=k % 5 == 4)
        if k % 2:
            os.killpg(sweep.pid, signal.SIGKILL)
        else:
            sweep.kill()
        sweep.wait()
    killed = [run for run in runs(root, "tiny", kind="combination") if run.info.status != "FINISHED"]
    assert killed, "no moment struck a run: the test showed nothing"

    (tmp_path / "undisturbed").mkdir()
    for folder in (root, tmp_path / "undisturbed"):
        sweep = start(*words, root=folder)
        assert sweep.wait(timeout=1200) == 0, folder.with_suffix(".log").read_text()[-3000:]
    found = runs(root, "tiny")
    assert {run.info.status for run in found} == {"FINISHED", "KILLED"}
    expected = outcomes(runs(tmp_path / "undisturbed", "tiny", kind="combination"))
    assert len(expected) == 40
    assert outcomes([run for run in found if run.data.tags["kind"] == "combination"]) == expected
    assert {run.data.params.get("study") for run in killed} <= {"tiny", None}
    assert_nothing_is_left(root)
    print(f"{len(killed)} runs were open when a signal struck")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real tracking server on this machine, its own folder and database."""
    folder = tmp_path / "server"
    folder.mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                with urlopen(f"{uri}/health", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
                time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def recorded(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.kind = 'combination'", max_results=5000))


def assert_each_was_done_once(found: list[Run], n: int, root: Path) -> None:
    assert [run.info.status for run in found] == ["FINISHED"] * n
    assert len(outcomes(found)) == n
    made = sum(run.data.metrics["store/misses"] for run in found)
    assert made == len(list((root / "store").rglob("*.npz")))
    assert_nothing_is_left(root)


TWO_HUNDRED = (
    *("-m", *SMALL, "study=tiny", "surrogate=ridge_high,ridge_low", "target=ridge_high,ridge_low", "seed=range(0,50)"),
    *("hydra/launcher=joblib", "hydra.launcher.n_jobs=8"),
)


@pytest.mark.parametrize("remote", [False, True], ids=["fresh sqlite", "server"])
def test_eight_workers_do_two_hundred_combinations_once_each(
    remote: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / "fresh"
    root.mkdir()
    uri = request.getfixturevalue("server") if remote else f"sqlite:///{root / 'mlflow.db'}"
    sweep = start(*TWO_HUNDRED, root=root, **({"MLFLOW_TRACKING_URI": uri} if remote else {}))
    assert sweep.wait(timeout=1800) == 0, root.with_suffix(".log").read_text()[-3000:]
    said = root.with_suffix(".log").read_text()
    assert "locked" not in said
    assert said.count("] finished") == 200
    assert_each_was_done_once(recorded(uri), 200, root)


@pytest.mark.parametrize("remote", [False, True], ids=["fresh sqlite", "server"])
def test_two_users_of_one_store_share_the_work(remote: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root = tmp_path / "fresh"
    root.mkdir()
    uri = request.getfixturevalue("server") if remote else f"sqlite:///{root / 'mlflow.db'}"
    environment = {"MLFLOW_TRACKING_URI": uri} if remote else {}
    common = ("-m", *SMALL, "study=tiny", "target=ridge_low,logistic_low", "seed=range(0,5)")
    sweeps = [
        start(*common, f"surrogate={surrogates}", root=root, **environment)
        for surrogates in (THREE, THREE, "ridge_low,logistic_high")
    ]
    assert [sweep.wait(timeout=1200) for sweep in sweeps] == [0, 0, 0], root.with_suffix(".log").read_text()[-3000:]
    said = root.with_suffix(".log").read_text()
    assert "locked" not in said
    assert said.count("] finished") == 40
    assert sum(map(int, re.findall(r"skipped (\d+) of", said))) == 40
    assert_each_was_done_once(recorded(uri), 40, root)
