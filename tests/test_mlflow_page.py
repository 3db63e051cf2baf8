"""What MLflow's page shows of a small sweep besides its numbers: description, user, source, data sets, cells."""

from __future__ import annotations

import importlib.util
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Cli, runs
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.tracking import versions
from transfer_exp.types import Sizes

NOTE = "mlflow.note.content"
T_1 = 12.706204736432095  # Student's t with one degree of freedom, 97.5%: tan(0.475 pi)


def data(run: Run) -> dict[str, Any]:
    return {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}


def experiment(root: Path, study: str) -> Any:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return client, client.get_experiment_by_name(study)


def check_cells(parent: Run, children: list[Run]) -> None:
    """The parent's means and intervals, by hand from its three seeds."""
    errors = {(r.data.params["surrogate"], r.data.params["seed"]): r.data.metrics["error_at_0.5"] for r in children}
    for surrogate in ("ridge_high", "svm_low"):
        one, two, three = (errors[surrogate, seed] for seed in "012")
        mean = (one + two + three) / 3
        half = T_1 * math.sqrt(((one - mean) ** 2 + (two - mean) ** 2 + (three - mean) ** 2) / 2 / 3)
        expected = {"": mean, "_low95": mean - half, "_high95": mean + half}
        for kind, value in expected.items():
            assert parent.data.metrics[f"mean_error{kind}/{surrogate}/ridge_low"] == pytest.approx(value)
            assert parent.data.metrics[f"mean_transfer{kind}/{surrogate}"] == pytest.approx(value)  # of one target
    svm = sum(errors["svm_low", seed] for seed in "012") / 3
    assert f"| SVM L | {100 * svm:.0f}% | {100 * svm:.0f}% |" in parent.data.tags[NOTE]


def check_data(children: list[Run]) -> None:
    """The parts of the split as inputs."""
    # Runs on the same points have the same digest; a digest is that of the rows, not of the seed.
    assert all(list(data(run)) == ["surrogate", "target", "test"] for run in children)
    tests = {run.data.params["seed"]: {data(other)["test"].digest for other in children} for run in children}
    assert {len(digests) for digests in tests.values()} == {3}
    first = [run for run in children if run.data.params["seed"] == "0"]
    assert data(first[0])["test"].digest == data(first[1])["test"].digest
    assert len({one.digest for run in children for one in data(run).values()}) == 9
    split = make_split(load_digits(name="digits89", classes=[8, 9], split=Sizes(test=20)), seed=0)
    rows = {"surrogate": len(split.surrogate), "target": len(split.target), "test": 20}
    for context, one in data(first[0]).items():
        assert one.name == "digits89"
        assert f'"num_rows": {rows[context]}, "num_features": 64' in one.profile
        assert first[0].data.tags["data_checksum"] in one.source


@pytest.mark.slow
def test_a_small_sweep_on_the_page(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ada")
    versions._user.cache_clear()
    words = ("-m", *SMALL, "study=tiny", "seed=0,1,2", "surrogate=ridge_high,svm_low")
    ended = cli(*words)
    versions._user.cache_clear()
    assert ended.rc == 0, ended.stderr
    client, study = experiment(root, "tiny")
    assert f"http://127.0.0.1:5000/#/experiments/{study.experiment_id}/runs?workflowType=machine_learning" in ended.stdout
    assert study.tags["mlflow.experimentKind"] == "custom_model_development"
    (parent,), children = runs(root, "tiny", kind="study"), runs(root, "tiny", kind="combination")

    for run in (parent, *children):
        tags = run.data.tags
        assert (tags["mlflow.user"], tags["mlflow.source.name"], tags["mlflow.source.type"]) == (
            "ada",
            "transfer_exp",
            "LOCAL",
        )
        assert tags.get("mlflow.source.git.commit", "unknown") == tags["git_commit"]

    check_cells(parent, children)
    command = parent.data.tags[NOTE].split("```")[1].replace("\\\n", " ")  # as a shell reads it
    assert shlex.split(command) == ["python", "-m", "transfer_exp", *words]
    assert study.tags[NOTE] == parent.data.tags[NOTE]

    client.set_experiment_tag(study.experiment_id, NOTE, study.tags[NOTE] + "\n\nmine")
    assert "skipped 6 of 6 combinations" in cli(*words).stderr
    again = experiment(root, "tiny")[1].tags[NOTE]
    assert again.endswith("\n\nmine")
    assert again.count("SVM L") == 1

    # The command in a description makes that very combination again.
    command = children[-1].data.tags[NOTE].split("```")[1].replace("\\\n", " ")  # as a shell reads it
    assert cli(*shlex.split(command)[3:]).rc == 0
    *_, newest = runs(root, "tiny", kind="combination")
    assert newest.info.run_id != children[-1].info.run_id
    assert newest.data.tags["signature"] == children[-1].data.tags["signature"]
    assert f"experiments/{study.experiment_id}/runs/{parent.info.run_id}" in children[-1].data.tags[NOTE]

    check_data(children)


def test_a_user_id_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    versions._user.cache_clear()
    assert versions.origin({"git_commit": "unknown"}) == {
        "mlflow.user": "unknown",
        "mlflow.source.name": "transfer_exp",
        "mlflow.source.type": "LOCAL",
    }
    versions._user.cache_clear()


@pytest.mark.parametrize("words", [(), ("-m", "seed=0,1")])
def test_without_psutil_system_metrics_are_refused_before_anything_is_recorded(
    words: tuple[str, ...], cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "transfer_exp.tracking.system_metrics.find_spec", lambda name: None if name == "psutil" else find(name)
    )
    ended = cli(*words, *SMALL, "tracking.system_metrics=true")
    assert ended.rc != 0
    assert "error: tracking.system_metrics: expected psutil to be installed, got none; pip install" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not runs(root)


def test_system_metrics_by_one_switch(cli: Cli, root: Path) -> None:
    pytest.importorskip("psutil")
    for switch in ("false", "true"):
        assert cli(*SMALL, f"tracking.system_metrics={switch}", "resume=false").rc == 0
    without, with_them = runs(root)
    assert not [name for name in without.data.metrics if name.startswith("system/")]
    assert 0 < with_them.data.metrics["system/system_memory_usage_percentage"] < 100
    assert with_them.info.status == "FINISHED"
    assert without.data.tags["signature"] == with_them.data.tags["signature"]
