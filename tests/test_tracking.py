"""The tracking store: how runs end, what is logged, and what happens when the store is out of reach."""

from __future__ import annotations

import math
import multiprocessing
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import requests
from filelock import FileLock
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from transfer_exp.system.signals import exit_on_signals
from transfer_exp.tracking import connecting
from transfer_exp.tracking import tracker as tracking
from transfer_exp.tracking.data_parts import DataPart
from transfer_exp.tracking.logged import Record
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import UserError


@pytest.fixture
def tracker(root: Path) -> Tracker:
    return Tracker(uri=None, root=root, study="study")


def artifact(run: Run, name: str) -> str:
    return (Path(run.info.artifact_uri.removeprefix("file://")) / name).read_text()


def test_a_run_that_ends_well_is_finished_and_can_be_found(tracker: Tracker) -> None:
    with tracker.run("good", tags={"signature": "abc"}) as run_id:
        assert tracker.client.get_run(run_id).info.status == "RUNNING"
        assert tracker.find(status="FINISHED", signature="abc") is None
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    assert tracker.find(status="FINISHED", signature="abc") == run_id
    assert tracker.find(signature="other") is None


def test_a_run_that_fails_says_why(tracker: Tracker) -> None:
    with pytest.raises(ZeroDivisionError), tracker.run("bad", tags={}) as run_id:
        _ = 1 / 0
    run = tracker.client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "ZeroDivisionError: division by zero"
    assert "_ = 1 / 0" in artifact(run, "traceback.txt")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_is_killed(tracker: Tracker, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), tracker.run("cut", tags={}) as run_id:
        raise interruption
    run = tracker.client.get_run(run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags["error"].startswith(interruption.__name__)


def test_a_run_is_closed_even_if_its_end_cannot_be_explained(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_space(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker, "log_files", out_of_space)
    with pytest.raises(ZeroDivisionError), tracker.run("bad", tags={}) as run_id:
        _ = 1 / 0
    assert tracker.client.get_run(run_id).info.status == "FAILED"


def test_a_run_says_what_it_is_from_its_start(tracker: Tracker) -> None:
    with tracker.run("run", tags={"a": "b"}, params={"seed": 3}) as run_id:
        run = tracker.client.get_run(run_id)
    assert run.data.params == {"seed": "3"}
    assert run.data.tags["a"] == "b"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_the_birth_of_a_run_closes_it(
    number: signal.Signals, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tracker.start

    def interrupted(name: str, **given: Any) -> str:
        run_id = whole(name, **given)
        signal.raise_signal(number)  # the run is there, its id is not yet returned
        return run_id

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    exit_on_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell have it ignored
    monkeypatch.setattr(tracker, "start", interrupted)
    with pytest.raises((SystemExit, KeyboardInterrupt)), tracker.run("cut", tags={}):
        pytest.fail("the signal was lost")
    for kind, handler in before.items():
        signal.signal(kind, handler)
    assert [run.info.status for run in tracker.client.search_runs([tracker.experiment_id])] == ["KILLED"]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT}


def test_a_run_that_cannot_be_made_leaves_signals_as_they_were(tracker: Tracker) -> None:
    tracker.experiment_id = "999"
    with pytest.raises(UserError, match="999"), tracker.run("bad", tags={}):
        pytest.fail("it was made")
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT}


def test_runs_of_processes_that_are_gone_are_closed_and_others_are_not(tracker: Tracker, tmp_path: Path) -> None:
    held, free = FileLock(tmp_path / "held.lock"), FileLock(tmp_path / "free.lock")
    with free:
        pass
    tags = {"dead": free.lock_file, "alive": held.lock_file, "elsewhere": str(tmp_path / "nowhere.lock")}
    ids = {name: tracker.start(name, tags={"lock": str(lock)}) for name, lock in tags.items()}
    ids["older"] = tracker.start("older", tags={})
    with held:
        assert tracker.close_dead() == [ids["dead"]]
    found = {name: tracker.client.get_run(run_id) for name, run_id in ids.items()}
    assert {name: run.info.status for name, run in found.items()} == {
        "dead": "KILLED",
        "alive": "RUNNING",
        "elsewhere": "RUNNING",
        "older": "RUNNING",
    }
    assert found["dead"].data.tags["error"].startswith("killed")


def test_a_run_that_ends_while_it_is_looked_at_stays_as_it_ended(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FileLock(tmp_path / "free.lock") as lock:
        pass
    run_id = tracker.start("quick", tags={"lock": str(lock.lock_file)})
    seen = tracker.client.search_runs([tracker.experiment_id])
    tracker.finish(run_id, "FINISHED")
    monkeypatch.setattr(tracker.client, "search_runs", lambda *_: seen)
    assert tracker.close_dead() == []
    assert tracker.client.get_run(run_id).info.status == "FINISHED"


def test_children_hang_below_their_parent(tracker: Tracker) -> None:
    parent = tracker.start("parent", tags={"kind": "study"})
    with tracker.run("child", tags={"kind": "combination"}, parent=parent) as run_id:
        pass
    assert tracker.client.get_run(run_id).data.tags["mlflow.parentRunId"] == parent
    assert tracker.client.get_run(parent).info.status == "RUNNING"


def test_thousands_of_numbers_go_in_batches_that_mlflow_takes(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    whole = tracker.client.log_batch

    def count(run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        sizes.append(len(metrics) + len(params) + len(tags))
        whole(run_id, metrics, params, tags)

    monkeypatch.setattr(tracker.client, "log_batch", count)
    with tracker.run("many", tags={}) as run_id:
        metrics = {f"m{k}": float(k) for k in range(2000)}
        tracker.log(run_id, Record(params={f"p{k}": k for k in range(90)}, metrics=metrics))
    assert max(sizes) <= 1000
    assert len(sizes) == 3
    run = tracker.client.get_run(run_id)
    assert run.data.metrics == metrics
    assert len(run.data.params) == 90


def test_curves_share_integer_steps_with_epsilon_and_hold_no_undefined_number(tracker: Tracker) -> None:
    with tracker.run("curves", tags={}) as run_id:
        curves = {"epsilon": [0.0, 0.5, 2.0], "error": [0.1, math.nan, 0.9], "loss": [math.inf, 1.0, -math.inf]}
        tracker.log(run_id, Record(metrics={"good": 1.0, "nan": math.nan, "inf": math.inf}, curves=curves))
    history = {
        name: [(point.step, point.value) for point in tracker.client.get_metric_history(run_id, f"curve/{name}")]
        for name in curves
    }
    assert history == {
        "epsilon": [(0, 0.0), (1, 0.5), (2, 2.0)],
        "error": [(0, 0.1), (2, 0.9)],
        "loss": [(1, 1.0)],
    }
    scalars = {name for name in tracker.client.get_run(run_id).data.metrics if "/" not in name}
    assert scalars == {"good"}


def test_files_lie_below_the_root_wherever_the_command_was_typed(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with tracker.run("files", tags={}) as run_id:
        tracker.log(run_id, Record(files={"a.txt": b"text", "folder/b.txt": b"more"}))
    run = tracker.client.get_run(run_id)
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(tracker.root / "mlartifacts" / "study")
    assert artifact(run, "folder/b.txt") == "more"
    assert not list(elsewhere.iterdir())


def test_two_studies_are_apart(root: Path, tracker: Tracker) -> None:
    other = Tracker(uri=None, root=root, study="other")
    with tracker.run("mine", tags={"signature": "abc"}):
        pass
    assert other.find(signature="abc") is None
    again = Tracker(uri=None, root=root, study="study")
    assert again.experiment_id == tracker.experiment_id != other.experiment_id


def kind(tracker: Tracker) -> str:
    return str(tracker.client.get_experiment(tracker.experiment_id).tags["mlflow.experimentKind"])


@pytest.mark.parametrize("guess", ["", "genai_development_inferred", "no_inferred_type"])
def test_a_study_opens_as_model_training_also_one_that_was_there_before(guess: str, root: Path, tracker: Tracker) -> None:
    assert kind(tracker) == "custom_model_development"
    older = tracker.client.create_experiment("older", tags={"mlflow.experimentKind": guess} if guess else {})
    again = Tracker(uri=None, root=root, study="older")
    assert again.experiment_id == older
    assert kind(again) == "custom_model_development"


def test_what_a_person_chose_a_study_to_be_stays(root: Path, tracker: Tracker) -> None:
    tracker.client.set_experiment_tag(tracker.experiment_id, "mlflow.experimentKind", "genai_development")
    assert kind(Tracker(uri=None, root=root, study="study")) == "genai_development"


def test_data_sets_that_another_worker_adds_meanwhile_are_logged(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tries = tracker.client.log_inputs, []

    def beaten_twice(run_id: str, datasets: Any) -> None:
        tries.append(run_id)
        if len(tries) < 3:  # as between MLflow's look at what it has and its insertion
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name")
        whole(run_id, datasets)

    monkeypatch.setattr(tracker.client, "log_inputs", beaten_twice)
    parts = [DataPart(name="", digest=c, context=c, about={"part": c}, counts={"num_rows": 3}) for c in ("test", "target")]
    with tracker.run("run", tags={}) as run_id:
        tracker.log(run_id, Record(data=parts))
    found = tracker.client.get_run(run_id).inputs.dataset_inputs
    assert {(one.dataset.name, one.dataset.digest, one.tags[0].value) for one in found} == {
        *(("unnamed", "test", "test"), ("unnamed", "target", "target")),
    }


def test_a_deleted_study_is_named(root: Path, tracker: Tracker) -> None:
    tracker.client.delete_experiment(tracker.experiment_id)
    with pytest.raises(UserError, match="expected an active MLflow experiment, got study"):
        Tracker(uri=None, root=root, study="study")


def test_a_database_that_was_being_made_when_its_process_was_killed_is_made_again(tmp_path: Path) -> None:
    (tmp_path / ".mlflow.db.tmp").write_bytes(b"half of a database")
    (tmp_path / ".mlflow.db.tmp-journal").write_bytes(b"half of its journal")
    tracker = Tracker(uri=None, root=tmp_path, study="study")
    with tracker.run("run", tags={}) as run_id:
        pass
    assert tracker.client.get_run(run_id).info.status == "FINISHED"
    assert not list(tmp_path.glob("*.tmp*"))


def _connect(root: Path, barrier: Barrier) -> None:
    barrier.wait()
    tracker = Tracker(uri=None, root=root, study="fresh")
    with tracker.run("run", tags={}):
        pass


def test_a_fresh_database_is_made_by_several_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_connect, args=(tmp_path, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    tracker = Tracker(uri=None, root=tmp_path, study="fresh")
    runs = tracker.client.search_runs([tracker.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and never answered."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that each request may take. MLflow's own client, which tries again for minutes, is not to be made."""
    seconds: list[float] = []

    def ask(credentials: Any, place: str, method: str, *, timeout: float, **options: Any) -> requests.Response:
        seconds.append(timeout)
        return send(credentials, place, method, timeout=timeout, **options)

    send = connecting.http_request
    monkeypatch.setattr(connecting, "http_request", ask)
    monkeypatch.setattr(tracking, "MlflowClient", None)
    return seconds


def test_a_server_that_refuses_is_named_at_once(root: Path, closed_port: int, asked: list[float]) -> None:
    with pytest.raises(UserError, match=rf"expected a tracking store at http://127\.0\.0\.1:{closed_port}, got no answer"):
        Tracker(uri=f"http://127.0.0.1:{closed_port}", root=root, study="study")
    assert len(asked) == 1


def test_a_server_that_says_nothing_is_given_up(
    root: Path, silent_port: int, asked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connecting.PATIENCE_SECONDS <= 10
    monkeypatch.setattr(connecting, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"got no answer \(ReadTimeoutError\)"):
        Tracker(uri=f"http://127.0.0.1:{silent_port}", root=root, study="study")
    assert asked == [0.2]


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="expected a tracking store at sqlite:///"):
        Tracker(uri=None, root=tmp_path / "file", study="study")


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(UserError, match="expected a tracking store at sqlite:///"):
        Tracker(uri=None, root=tmp_path, study="study")
