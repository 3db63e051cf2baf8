"""How a sweep opens and ends: what goes wrong is one line and a non-zero exit, and the parent says it, too."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import SMALL, Cli, Ended, runs
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.experiments import commands as mlflow_experiments
from test_bad_worlds import mounted

from transfer_exp.cli import progress
from transfer_exp.cli.progress import Job
from transfer_exp.report import __main__ as report
from transfer_exp.report import build
from transfer_exp.tracking.connecting import sqlite_uri
from transfer_exp.tracking.studies import check_study, study_folder
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import UserError

ONE = ("-m", *SMALL, "study=tiny", "seed=0")


def parent(root: Path, study: str = "tiny") -> Run:
    (run,) = runs(root, study, kind="study")
    return run


def refused(ended: Ended, said: str) -> None:
    """In one line."""
    assert ended.rc == 1
    assert ended.stderr.startswith("error: "), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert said in ended.stderr


def studies(root: Path) -> set[str]:
    return {experiment.name for experiment in MlflowClient(sqlite_uri(root)).search_experiments()}


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError(28, "No space left on device"), "summary: expected to be able to write what follows the last combination"),
        pytest.param(UserError("out: expected"), "out: expected", marks=pytest.mark.slow),
        pytest.param(ZeroDivisionError("a defect"), "ZeroDivisionError: a defect", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_what_fails_after_the_last_job_is_told_and_a_second_try_heals_it(
    failure: Exception, said: str, cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(build, "study_summary", broken)
        ended = cli(*ONE)
    assert ended.rc == 1
    assert ended.stderr.splitlines()[-1].startswith(f"error: {said}")
    assert parent(root).info.status == "FAILED"
    assert said in parent(root).data.tags["error"]
    assert cli(*ONE).rc == 0
    assert parent(root).info.status == "FINISHED"
    assert "error" not in parent(root).data.tags


@pytest.mark.slow
def test_a_report_that_cannot_be_written_fails_its_sweep(cli: Cli, root: Path) -> None:
    (root / "reports" / "tiny").mkdir(parents=True)
    (root / "reports" / "tiny" / "thesis.tex").touch()
    words = ("experiment=digits89_evasion", *SMALL, "study=tiny", "seed=0", "surrogate_fraction=1.0")
    ended = cli(*words)
    assert ended.rc == 1
    assert ended.stderr.splitlines()[-1].startswith("error: out: expected a new folder or an earlier report")
    assert "holds something else" in parent(root).data.tags["error"]


def test_a_file_that_is_lost_before_the_summary_fails_the_sweep_by_name(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(job: Job, *_: Any) -> None:
        if "seed 1" in job.name:
            next(file for file in root.rglob("curves.csv") if str(job.run_id) in str(file)).unlink()

    monkeypatch.setattr(progress, "show_progress", lose)
    ended = cli(*ONE, "seed=0,1")
    assert ended.rc == 1
    assert "error at epsilon 0.5, mean over 1 seed" in ended.stdout
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"error: left out: {root}/mlartifacts/tiny/")
    assert "curves.csv: expected a file, got none" in last
    assert last.removeprefix("error: ") == parent(root).data.tags["error"]


def test_a_job_that_leaves_no_result_is_counted(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = progress.leave_result

    def half(folder: Path, number: int, job: Job, overrides: list[str]) -> None:
        leave(folder, number, job, overrides)
        if number == 1:
            (folder / "job-1.json").write_text('{"status": "fin')  # as on a disk that is full

    monkeypatch.setattr(progress, "leave_result", half)
    ended = cli(*ONE, "seed=0,1")
    assert ended.rc == 1
    assert "error: 1 combination left no result in" in ended.stderr
    assert parent(root).info.status == "FAILED"


@pytest.mark.slow
def test_a_folder_that_is_used_twice_judges_only_its_own_jobs(cli: Cli, root: Path, tmp_path: Path) -> None:
    fixed = f"hydra.sweep.dir={tmp_path / 'fixed'}"
    ended = cli(*ONE, "dataset.split.test=20,100000", fixed)
    assert "error: 1 of 2 combinations failed" in ended.stderr
    ended = cli(*ONE, fixed)
    assert ended.rc == 0, ended.stderr
    assert "skipped 1 of 1 combination: done before" in ended.stderr
    assert not (tmp_path / "fixed" / "multirun.yaml").exists()  # Hydra's, with all that was typed
    with FileLock(tmp_path / "fixed" / ".sweep.lock"):
        refused(cli(*ONE, fixed), "hydra.sweep.dir: expected a folder for this sweep alone")


EXPERIMENTS = "digits89_evasion,digits89_poisoning"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [f"experiment={EXPERIMENTS}"],
            f"experiment: expected one for all of a sweep, got {EXPERIMENTS.replace(',', ', ')}",
        ),
        (["study=t1,t2"], "study: expected one for all of a sweep, got t1, t2; type a command for each"),
        (["study=${dataset.classes}", "dataset.classes=[8,9],[4,9]"], "study: expected"),
        (["seed=interval(0,3)"], "seed: expected values that can be listed, such as seed=0,1,2, range(0,3), choice(1,10)"),
        (["hydra/sweeper=ax"], "hydra/sweeper: expected blocks (a sweep over lists: seed=0,1, range(0,10), choice(1,10)"),
        (["study=../../x"], "study: expected a name of at most 200 bytes, no line break"),
        (["study=/tmp/x"], "study: expected a name"),
        (["study="], "study: expected a name"),
    ],
)
def test_what_is_no_sweep_is_refused_before_anything_is_recorded(words: list[str], said: str, cli: Cli, root: Path) -> None:
    before = {*root.rglob("*")}
    refused(cli("-m", *SMALL, *words), said)
    assert studies(root) == {"Default"}
    assert not [file for file in {*root.rglob("*")} - before if "mlflow.db" not in file.name and "store" not in file.parts]


@pytest.mark.parametrize(
    "name", ["", " ", "..", "a/..", "../x", "/a", "a/", "a//b", ".", "a\nb", "a\\b", "x" * 201, "ü" * 101, " a", "a\x00"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match=r"study: expected a name of at most 200 bytes") as caught:
        check_study(name)
    assert "\n" not in str(caught.value)


def test_names_that_are_some_have_a_folder_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ["a", "a/b", "a%2Fb", "a%b", "<second> & last", "ü" * 100, "..a", "x" * 200]
    outs: list[Path] = []

    def build(*, out: Path, **_: Any) -> Path:
        outs.append(out)
        return out

    monkeypatch.setattr("transfer_exp.report.build.build_report", build)
    for name in names:
        check_study(name)
        assert report.main([f"study={name}", f"root={tmp_path}"]) == 0
    assert {out.parent for out in outs} == {tmp_path / "reports"}
    assert [out.name for out in outs] == [study_folder(name) for name in names]
    assert len(set(outs)) == len(names)


@pytest.mark.slow
def test_a_deleted_study_says_how_to_restore_it(cli: Cli, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker(uri=None, root=root, study="tiny")
    tracker.client.delete_experiment(tracker.experiment_id)
    command = f"MLFLOW_TRACKING_URI={tracker.uri} mlflow experiments restore --experiment-id {tracker.experiment_id}"
    said = f"study: expected an active MLflow experiment, got tiny, which is deleted; to restore it: {command}"
    refused(cli(*SMALL, "study=tiny"), said)
    ended = cli(*ONE)
    refused(ended, said)
    assert report.main(["study=tiny", f"root={root}"]) == 2
    assert said in capsys.readouterr().err
    setting, *words = shlex.split(ended.stderr.partition("restore it: ")[2])
    assert words[:2] == ["mlflow", "experiments"]
    done = CliRunner().invoke(mlflow_experiments, words[2:], env=dict([setting.split("=", 1)]))
    assert done.exit_code == 0, done.output
    assert cli(*ONE).rc == 0


def test_an_empty_database_is_an_error(cli: Cli, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "mlflow.db").write_bytes(b"")
    said = f"tracking: expected a database of MLflow, got {root}/mlflow.db, which is empty (0 bytes)"
    refused(cli(*SMALL), said)
    refused(cli(*ONE), said)
    assert report.main(["study=tiny", f"root={root}"]) == 2
    assert said in capsys.readouterr().err
    assert (root / "mlflow.db").read_bytes() == b""


@pytest.mark.slow
def test_a_disk_that_is_full_while_the_database_is_made(cli: Cli, root: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as again:
        words = (*ONE, f"paths.root={tmp_path / 'disk'}", f"paths.store={root / 'store'}")
        refused(cli(*words), "tracking: expected a tracking store at sqlite:///")
        assert not list((tmp_path / "disk").glob("*mlflow.db*"))
        again("size=64m")
        assert cli(*words).rc == 0


@pytest.mark.parametrize("place", ["close_dead", "start", "find"])
def test_whatever_fails_while_a_sweep_opens_is_one_line(
    place: str, cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Tracker, place, full)
    refused(cli(*ONE), "sweep: expected to be able to write below paths.root, got: [Errno 28] No space left on device")
    assert not runs(root, "tiny", kind="combination")


def test_a_sweep_that_cannot_be_announced_closes_its_parent(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "announce", full)
    refused(cli(*ONE), "No space left on device")
    assert parent(root).info.status == "FAILED"
    assert "No space left on device" in parent(root).data.tags["error"]
