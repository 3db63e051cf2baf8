"""The command line: what one run records, that it repeats, and what a sweep does."""

from __future__ import annotations

import csv
import io
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALL, SOURCE, Cli, runs, subprocess_cli
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from omegaconf import OmegaConf

from transfer_exp.report.records import load
from transfer_exp.tracking.tracker import Tracker

# What may differ between two runs of one command: the time they take and what the store already had.
FLEETING = {"seconds", "store/hits", "store/misses", "store/bytes"}


def metrics(run: Run) -> dict[str, float]:
    return {name: value for name, value in run.data.metrics.items() if name not in FLEETING}


def files(run: Run) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"))


def curves(run: Run, root: Path) -> dict[str, list[tuple[int, float]]]:
    client = Tracker(uri=None, root=root, study="single").client
    names = [name for name in run.data.metrics if name.startswith("curve/")]
    return {name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)] for name in names}


def test_one_run_records_all_that_the_design_asks(cli: Cli, root: Path) -> None:
    ended = cli(*SMALL, "seed=3")
    assert ended.rc == 0, ended.stderr
    assert "ridge_high > ridge_low seed 3 epsilon.grid [0,0.5] " in ended.stderr
    (run,) = runs(root)
    found, place = ended.stdout.splitlines()
    error, noise, white, clean = (
        f"{100 * run.data.metrics[name]:.0f}%"
        for name in ("error_at_0.5", "noise_error_at_0.5", "whitebox_error_at_0.5", "clean_error")
    )
    assert found == (
        f"error of ridge_low by attacks made on ridge_high: {error} at epsilon 0.5; under noise {noise}; with full access "
        f"{white}; without attack {clean}"
    )
    assert f"/runs/{run.info.run_id}?" in place
    assert place.endswith(f"; its files: {files(run)}")
    assert run.info.status == "FINISHED"

    params = run.data.params
    assert 30 <= len(params) <= 50
    expected = {"dataset": "digits89", "surrogate": "ridge_high", "target": "ridge_low", "seed": "3", "attack.norm": "l2"}
    expected |= {"attack.n_iter": "5", "n_variability": "2", "dataset.split.test": "20", "dataset.classes": "[8, 9]"}
    expected |= {"scale": "none", "epsilon.grid": "[0, 0.5]", "surrogate_fraction": "1"}
    expected |= {"surrogate._target_": "transfer_exp.learners.linear.Ridge"}
    expected |= {"surrogate.alpha": "1", "target.alpha": "10", "n_test": "20", "n_target": "167", "n_features": "64"}
    assert params.items() >= expected.items()

    scalars = {"clean_error", "error_at_0.5", "whitebox_error_at_0.5", "error_ratio_at_0.5", "gradient_size"}
    scalars |= {"noise_error_at_0.5"}
    scalars |= {"gradient_alignment", "loss_variability", "perturbation_correlation", "surrogate_clean_error"}
    scalars |= {"health/violation", "effort/gradient_calls", "seconds", "store/hits", "store/misses"}
    assert scalars <= set(run.data.metrics)

    history = curves(run, root)
    assert history["curve/epsilon"] == [(0, 0.0), (1, 0.5)]
    wanted = ("error", "success", "whitebox_error", "noise_error", "loss", "perturbation_l2", "perturbation_correlation")
    assert {f"curve/{name}" for name in wanted} <= set(history)
    # At epsilon 0 nothing moved: the target's error is its clean error, and no correlation is defined.
    assert history["curve/error"][0] == (0, run.data.metrics["clean_error"])
    assert [step for step, _ in history["curve/perturbation_correlation"]] == [1]

    tags = run.data.tags
    for name in ("signature", "data_checksum", "git_commit", "version/torch", "version/mlflow", "version/transfer_exp"):
        assert tags[name], name


def test_one_run_leaves_its_files(cli: Cli, root: Path) -> None:
    cli(*SMALL)
    (run,) = runs(root)
    folder = files(run)
    assert folder.is_relative_to(root / "mlartifacts")
    rows = list(csv.DictReader(io.StringIO((folder / "curves.csv").read_text())))
    assert [float(row["epsilon"]) for row in rows] == [0, 0.5]
    assert {row["surrogate"] for row in rows} == {"ridge_high"}
    assert float(rows[1]["error"]) == run.data.metrics["error_at_0.5"]
    assert float(rows[1]["noise_error"]) == run.data.metrics["noise_error_at_0.5"]
    assert rows[0]["perturbation_correlation"] == ""  # undefined, not 0
    config = OmegaConf.load(folder / "config.yaml")
    assert config.surrogate.alpha == 1  # resolved
    assert list(OmegaConf.load(folder / "overrides.yaml")) == list(SMALL)
    assert (folder / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_a_target_without_gradients_has_no_white_box_and_no_measure_of_it(cli: Cli, root: Path) -> None:
    ended = cli(*SMALL, "target=forest_low", "target.n_trees=3")
    assert ended.rc == 0, ended.stderr
    (run,) = runs(root)
    names = set(run.data.metrics)
    assert {"error_at_0.5", "clean_error", "loss_variability", "curve/error"} <= names
    assert "full access" not in ended.stdout
    for word in ("whitebox", "gradient_size", "gradient_alignment", "perturbation_correlation", "error_ratio"):
        assert not [name for name in names if word in name]


@pytest.mark.slow
def test_the_same_command_gives_the_same_numbers_also_without_a_store(cli: Cli, root: Path, tmp_path: Path) -> None:
    words = (*SMALL, "target=mlp_high", "target.n_epochs=2", "surrogate=logistic_low", "resume=false")
    for extra in ((), (), (f"paths.store={tmp_path / 'other'}",)):
        assert cli(*words, *extra).rc == 0
    first, warm, fresh = runs(root)
    assert first.data.metrics["store/misses"] == fresh.data.metrics["store/misses"] > 0
    assert warm.data.metrics["store/misses"] == 0
    assert metrics(first) == metrics(warm) == metrics(fresh)
    assert curves(first, root) == curves(fresh, root)


def test_two_seeds_differ(cli: Cli, root: Path) -> None:
    for seed in (0, 1):
        cli(*SMALL, f"seed={seed}")
    first, second = runs(root)
    assert first.data.metrics["gradient_size"] != second.data.metrics["gradient_size"]
    assert first.data.tags["signature"] != second.data.tags["signature"]


def test_a_finished_combination_is_skipped_in_its_own_study_only(cli: Cli, root: Path) -> None:
    assert "finished" in cli(*SMALL).stderr
    again = cli(*SMALL)
    assert "skipped" in again.stderr
    assert again.stdout.startswith("error of ridge_low by attacks made on ridge_high: ")  # as it was found before
    assert len(runs(root)) == 1
    assert "finished" in cli(*SMALL, "study=other").stderr
    assert len(runs(root, "other")) == 1


SWEEP = ("-m", *SMALL, "study=tiny", "surrogate=ridge_high,logistic_low", "target=ridge_low,forest_low")


def test_a_sweep_is_one_tree_and_the_same_command_finds_it_again(cli: Cli, root: Path) -> None:
    ended = cli(*SWEEP)
    assert ended.rc == 0, ended.stderr
    assert "study tiny: 4 combinations" in ended.stderr
    assert "[4/4] finished" in ended.stderr
    assert "3 left, about" in ended.stderr
    (parent,), children = runs(root, "tiny", kind="study"), runs(root, "tiny", kind="combination")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["command"].startswith("python -m transfer_exp -m")
    assert [run.info.status for run in children] == ["FINISHED"] * 4
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    # No learner is trained twice, no point crafted twice: as many pieces made as there are.
    made = sum(run.data.metrics["store/misses"] for run in children)
    assert made == len(list((root / "store").rglob("*.npz")))

    again = cli(*SWEEP)
    assert again.rc == 0
    assert "skipped 4 of 4 combinations: done before\n" in again.stderr
    assert again.stderr.count("\n") == 3  # with the study, and what there is to do: nothing
    assert "training" not in again.stderr
    assert len(runs(root, "tiny")) == 5
    assert runs(root, "tiny", kind="study")[0].info.status == "FINISHED"

    redone = cli(*SWEEP, "resume=false")
    assert redone.stderr.count("finished") == 4
    new = runs(root, "tiny", kind="combination")[4:]
    assert [run.data.metrics["store/misses"] for run in new] == [0] * 4
    assert [run.data.metrics["store/hits"] > 0 for run in new] == [True] * 4


@pytest.mark.slow
def test_a_failing_job_does_not_stop_the_others(cli: Cli, root: Path) -> None:
    ended = cli("-m", *SMALL, "study=tiny", "dataset.split.test=20,100000,21")
    assert ended.rc == 1
    parent, *children = runs(root, "tiny")
    assert parent.info.status == "FAILED"
    assert [run.info.status for run in children] == ["FINISHED", "FAILED", "FINISHED"]
    reason = "dataset.split.test: expected at most 354 points of digits89"
    assert reason in children[1].data.tags["error"]
    assert children[1].data.params.items() >= {"surrogate": "ridge_high", "target": "ridge_low", "seed": "0"}.items()
    assert reason in (files(children[1]) / "traceback.txt").read_text()
    table = ended.stderr[ended.stderr.index("error: 1 of 3 combinations failed") :]
    assert "dataset.split.test=100000" in table
    assert reason in table
    assert "Type the same command" in table
    assert "Traceback" not in ended.stderr

    assert cli("-m", *SMALL, "study=tiny", "dataset.split.test=20,100000,21").stderr.count("skipped 2 of 3") == 1


@pytest.mark.slow
def test_a_study_carries_its_own_sweep(cli: Cli, root: Path) -> None:
    one_seed = ("seed=0", "surrogate=ridge_high,svm_low", "target=ridge_low", "surrogate_fraction=1.0")
    ended = cli("experiment=digits89_evasion", *one_seed, "n_variability=2", "attack.n_iter=2")
    assert ended.rc == 0, ended.stderr
    assert "study digits89_evasion: 2 of 336 combinations, recorded in" in ended.stderr
    assert "These are 2 of 336 combinations of the study digits89_evasion: what was typed leaves out" in ended.stdout
    (parent,), children = runs(root, "digits89_evasion", kind="study"), runs(root, "digits89_evasion", kind="combination")
    assert len(children) == 2
    assert "2 finished runs (the whole study has 336 combinations)" in (files(parent) / "report" / "report.html").read_text()
    assert parent.data.tags["mlflow.note.content"].startswith("A sweep of the study digits89_evasion: 2 of 336 combinations")
    report = f"(#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts/report/report.html?"
    assert (files(parent) / "report" / "report.html").is_file()
    study = MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_experiment_by_name("digits89_evasion")
    for description in (parent.data.tags["mlflow.note.content"], study.tags["mlflow.note.content"]):
        assert report in description
        assert "| SVM L |" in description


@pytest.mark.slow
def test_two_data_sets_of_one_kind_are_told_apart(cli: Cli, root: Path) -> None:
    assert cli("-m", *SMALL, "study=tiny", "dataset.classes=[8,9],[4,9]").rc == 0
    _, *children = runs(root, "tiny")
    assert [run.data.params["dataset"] for run in children] == ["digits89", "digits49"]
    for run in children:
        header, row, *_ = (files(run) / "curves.csv").read_text().splitlines()
        assert dict(zip(header.split(","), row.split(","), strict=True))["dataset"] == run.data.params["dataset"]


@pytest.mark.slow
def test_settings_of_a_sweep_are_told_apart_in_names_and_matrices(cli: Cli, root: Path) -> None:
    sweep = ("-m", *SMALL, "study=tiny", "surrogate.alpha=0.5,2", "attack.norm=l2,linf", "seed=0,1")
    ended = cli(*sweep)
    assert ended.rc == 0, ended.stderr
    assert "ridge_high (alpha 0.5) > ridge_low seed 1 attack.norm linf" in ended.stderr
    names = {run.info.run_name for run in runs(root, "tiny", kind="combination")}
    assert len(names) == 8
    for norm in ("l2", "linf"):
        _, _, matrix = ended.stdout.partition(f"error at epsilon 0.5, attack.norm {norm}, mean over 2 seeds\n")
        assert [line.split("  ")[0] for line in matrix.splitlines()[2:4]] == ["ridge, alpha 0.5", "ridge, alpha 2"]
    # A seed by itself, with another setting: apart, and with the command that completes it.
    assert cli("-m", *SMALL, "study=tiny", "surrogate.alpha=2", "n_variability=3", "seed=1").rc == 0
    (gap,) = [gap for gap in load(tracking_uri=f"sqlite:///{root}/mlflow.db", study="tiny").gaps if "n_variability" in gap]
    assert gap.startswith("n_variability 3")
    typed = shlex.split(gap.partition("to complete it: ")[2])
    assert typed[:4] == ["python", "-m", "transfer_exp", "-m"]
    assert "skipped 1 of 2 combinations" in cli(*typed[3:]).stderr
    assert not [gap for gap in load(tracking_uri=f"sqlite:///{root}/mlflow.db", study="tiny").gaps if "alone" in gap]


@pytest.mark.slow
def test_a_sweep_that_cannot_be_composed_records_nothing(root: Path, tmp_path: Path) -> None:
    words = ("-m", *SMALL, "study=tiny", "surrogate=ridge_high,nothing")
    ended = subprocess_cli(*words, cwd=tmp_path, TRANSFER_EXP_ROOT=str(root))
    assert ended.rc == 1
    assert ended.stderr.startswith("error: surrogate: expected one of bagged, cnn, ")
    assert ended.stderr.count("\n") == 1
    assert not runs(root, "tiny")


@pytest.mark.slow
def test_a_sweep_that_is_told_to_stop_closes_its_runs_and_can_go_on(root: Path, tmp_path: Path, cli: Cli) -> None:
    words = ("-m", *SMALL, "study=tiny", "surrogate=ridge_high,mlp_high", "hyperparameters.mlp_high.hidden=[2000,2000]")
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TRANSFER_EXP_ROOT": str(root)}
    command = [sys.executable, "-m", "transfer_exp", *words]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while [run.info.status for run in runs(root, "tiny")] != ["RUNNING", "FINISHED", "RUNNING"]:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert "type the same command to go on" in stderr
    *_, killed = runs(root, "tiny")
    assert [run.info.status for run in runs(root, "tiny")] == ["KILLED", "FINISHED", "KILLED"]
    assert (
        killed.data.params.items()
        >= {"surrogate": "mlp_high", "surrogate.hidden": "[2000, 2000]", "attack.norm": "l2"}.items()
    )
    assert not list(root.rglob("*.tmp"))


@pytest.mark.slow
def test_it_works_from_another_folder_and_leaves_its_results_there(tmp_path: Path) -> None:
    ended = subprocess_cli(*SMALL, cwd=tmp_path)
    assert ended.rc == 0, ended.stderr
    assert {entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")} == {
        "mlartifacts",
        "mlflow.db",
        "store",
    }
    assert [run.info.status for run in runs(tmp_path)] == ["FINISHED"]


def test_help_says_what_can_be_typed(cli: Cli, root: Path) -> None:
    ended = cli("--help")
    assert ended.rc == 0
    for word in (
        "python -m transfer_exp surrogate=svm_low target=mlp_high",
        "python -m transfer_exp -m",
        "python -m transfer_exp experiment=mnist89_evasion",
        "python -m transfer_exp.report study=mnist89_evasion",
        "logistic_high, logistic_low",
        "dataset: arrays",
        "attack.norm=linf",
    ):
        assert word in ended.stdout
    assert not runs(root)


@pytest.mark.slow
def test_two_workers_do_a_sweep_together(root: Path, tmp_path: Path) -> None:
    ended = subprocess_cli(
        *SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", cwd=tmp_path, TRANSFER_EXP_ROOT=str(root)
    )
    assert ended.rc == 0, ended.stderr
    parent, *children = runs(root, "tiny")
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 5
    made = sum(run.data.metrics["store/misses"] for run in children)
    assert made == len(list((root / "store").rglob("*.npz")))
