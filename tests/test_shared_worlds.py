"""Shared worlds: two users of one store, two sweeps on it, and a tracking server that dies and comes back."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, SOURCE, runs, subprocess_cli
from mlflow.tracking import MlflowClient
from servers import mlflow_server

from transfer_exp.store import Arrays, Store

NOBODY = 65534


def _as_nobody(folder: Path, umask: int) -> None:
    os.setgroups([NOBODY])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.umask(umask)

    def never() -> Arrays:
        raise AssertionError("made again")

    store = Store(folder)
    assert store.get("learner", "a", never)["w"] == 1
    assert store.get("learner", "b", lambda: {"w": np.int64(2)})["w"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to be two users")
@pytest.mark.parametrize("shared", [True, False])
def test_two_users_of_one_store(shared: bool) -> None:
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        folder = Path(top, "store")
        folder.mkdir()
        if shared:  # as docs/many_machines.md says
            os.chown(folder, 0, NOBODY)
            folder.chmod(0o2775)
        before = os.umask(0o002 if shared else 0o022)
        try:
            Store(folder).get("learner", "a", lambda: {"w": np.int64(1)})
            other = multiprocessing.get_context("fork").Process(target=_as_nobody, args=(folder, 0o002))
            other.start()
            other.join(timeout=300)
            assert (other.exitcode == 0) == shared
            if shared:
                assert Store(folder).get("learner", "b", lambda: {"w": np.int64(9)})["w"] == 2
                assert {stat.S_IMODE(file.stat().st_mode) for file in folder.rglob("*.npz")} == {0o664}
        finally:
            os.umask(before)


@pytest.mark.slow
def test_two_sweeps_on_one_store_share_its_work(tmp_path: Path) -> None:
    words = (
        "-m",
        *SMALL,
        "study=tiny",
        "seed=0,1",
        "surrogate=ridge_high,logistic_low",
        f"paths.store={tmp_path / 'store'}",
    )
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-m", "transfer_exp", *words]
    sweeps = [subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE) for place in places]
    for sweep in sweeps:
        _, stderr = sweep.communicate(timeout=300)
        assert sweep.returncode == 0, stderr
    children = [run for place in places for run in runs(place, "tiny", kind="combination")]
    assert [run.info.status for run in children] == ["FINISHED"] * 8
    made = sum(run.data.metrics["store/misses"] for run in children)
    assert made == len(list((tmp_path / "store").rglob("*.npz")))


def at_work(uri: str) -> bool:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    found = client.search_runs([experiment], "tags.kind = 'combination' and attributes.status = 'RUNNING'")
    return bool(found)


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_and_comes_back(tmp_path: Path) -> None:
    mlps = ("surrogate=ridge_high,mlp_high", "target=ridge_low", "seed=0,1", "hyperparameters.mlp_high.hidden=[2000,2000]")
    words = ("-m", *SMALL, "study=tiny", *mlps)
    place = tmp_path / "server"
    place.mkdir()
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(SOURCE), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    with mlflow_server(place) as server:
        command = [sys.executable, "-m", "transfer_exp", *words, f"tracking.uri={server.uri}"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            seen = []
            for line in process.stderr:
                seen.append(line)
                if line.startswith("[1/4]"):
                    while not at_work(server.uri):  # until the second combination, an MLP, is being trained
                        assert process.poll() is None
                        time.sleep(0.05)
                    server.kill()
            process.wait()
        stderr = "".join(seen)
        assert process.returncode == 1, stderr
        assert "Traceback" not in stderr
        assert f"expected {server.uri} to answer" in stderr
        assert "3 of 4 combinations failed" in stderr
        assert "ype the same command" in stderr

        server.start()
        ended = subprocess_cli(*words, f"tracking.uri={server.uri}", cwd=tmp_path)
        assert ended.rc == 0, ended.stderr
        assert "skipped 1 of 4 combinations" in ended.stderr
        client = MlflowClient(server.uri)
        found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.kind = 'combination'")
        finished = [run.data.tags["signature"] for run in found if run.info.status == "FINISHED"]
        assert len(finished) == len(set(finished)) == 4
