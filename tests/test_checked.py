"""What is read back is checked: a file that is not what was logged is left out by name, and its run counts as missing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, Cli, runs
from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag
from synthetic_study import combination, examples, grid, write_store

from transfer_exp.report.checked import wrong_curve
from transfer_exp.report.examples import load_examples, unpack
from transfer_exp.report.records import Study, load
from transfer_exp.tracking.artifacts import CHECKSUMS, checksums
from transfer_exp.types import UserError

TARGETS = ["ridge_low", "svm_low"]


@pytest.fixture
def uri(root: Path) -> str:
    """A study of two runs, recorded before there were checksums."""
    return write_store(root, "study", grid(["ridge_low"], TARGETS, [1.0], [0]), images=False)


def run_of(uri: str, target: str) -> Run:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"params.target = '{target}'")
    return run


def file_of(run: Run, name: str = "curves.csv") -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://"), name)


def read(uri: str) -> Study:
    return load(tracking_uri=uri, study="study")


def replaced(cell: str, by: str, *, column: str, row: int = -1) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        lines = content.decode().splitlines()
        at = lines[0].split(",").index(column)
        cells = lines[row].split(",")
        assert cell in cells[at]
        cells[at] = by
        lines[row] = ",".join(cells)
        return ("\n".join(lines) + "\n").encode()

    return change


CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut inside its last row": (lambda c: c[: c.rstrip().rindex(b",")], "whole rows"),
    "cut inside its last cell": (lambda c: c[:-3], "whole rows"),
    "cut after a row": (lambda c: c[: c.rstrip().rindex(b"\n") + 1], "the epsilons of the grid, 11 from 0 to 5, got 10"),
    "empty": (lambda _: b"", "whole rows"),
    "not text": (lambda _: b"\xff\xfe\x00\n", "a table, got UnicodeDecodeError"),
    "a word for a number": (replaced("0.", "high", column="loss", row=3), "expected numbers as loss, got"),
    "another error at the end": (replaced("0.", "0.5", column="error"), "error to end with"),
    "another clean error": (replaced("0.0", "0.5", column="clean_error", row=2), "expected clean_error 0.0"),
    "another epsilon": (replaced("5.0", "6.0", column="epsilon"), "the epsilons of the grid"),
    "another seed": (replaced("0", "1", column="seed", row=4), "expected seed 0"),
    "without its columns": (lambda _: b"a,b\n1,2\n", "expected columns epsilon, error and clean_error"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_curve_is_seen_without_a_checksum(name: str, uri: str) -> None:
    run = run_of(uri, "svm_low")
    content = file_of(run).read_bytes()
    change, said = CHANGES[name]
    assert wrong_curve(run, content) is None
    assert said in str(wrong_curve(run, change(content)))


def test_a_curve_in_the_middle_is_seen_by_the_metrics_at_chosen_epsilons_or_by_its_checksum(uri: str) -> None:
    run = run_of(uri, "svm_low")
    content = file_of(run).read_bytes()
    changed = replaced("0.", "0.01", column="error", row=3)(content)
    assert wrong_curve(run, changed) is None  # nothing in this old record speaks of it
    client = MlflowClient(uri)
    curve = combination("ridge_low", "svm_low", 1.0, 0)["curve"]
    client.log_metric(run.info.run_id, "error_at_1", curve.set_index("epsilon").loc[1.0, "error"])
    assert "at epsilon 1 as the run's metric" in str(wrong_curve(run_of(uri, "svm_low"), changed))
    client.set_tag(run.info.run_id, CHECKSUMS, checksums({"curves.csv": content}))
    run = run_of(uri, "svm_low")
    assert wrong_curve(run, content) is None
    assert "expected the file that was logged" in str(wrong_curve(run, changed))


def test_a_damaged_curve_is_named_with_its_file_and_its_run_is_missing(uri: str) -> None:
    file = file_of(run_of(uri, "svm_low"))
    content = file.read_bytes()
    file.write_bytes(content[: content.rstrip().rindex(b",")])
    study = read(uri)
    assert study.runs["target"].tolist() == ["ridge_low"]
    assert set(study.curves["target"]) == {"ridge_low"}
    (note,) = study.left_out
    assert note.startswith(f"left out: {file}: expected whole rows")
    assert note in study.gaps
    assert "not finished (damaged): target=svm_low" in study.gaps


def test_an_older_run_takes_the_place_of_a_damaged_one(root: Path) -> None:
    item = combination("ridge_low", "svm_low", 1.0, 0)
    uri = write_store(root, "study", [item, item], images=False)
    before = read(uri)
    newer = before.runs["run_id"].item()
    next(file for file in root.rglob("curves.csv") if newer in str(file)).unlink()
    study = read(uri)
    assert study.runs["run_id"].item() != newer
    assert study.curves.drop(columns="run_id").equals(before.curves.drop(columns="run_id"))
    assert len(study.left_out) == 1


def test_a_study_without_any_whole_file_says_so(uri: str, root: Path) -> None:
    for file in root.rglob("curves.csv"):
        file.write_bytes(b"")
    with pytest.raises(UserError, match=r"expected finished runs with whole files, got none of 2: left out: .*curves\.csv"):
        read(uri)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "three"),
        ("seed", "-1"),
        ("surrogate_fraction", "2"),
        ("epsilon.reference", "one"),
        ("epsilon.shown", "1, 2"),
        ("epsilon.grid", '{"a": 1}'),
        ("dataset", ""),
    ],
)
def test_runs_that_others_made_are_left_out(name: str, value: str, root: Path) -> None:
    strange = combination("ridge_low", "svm_low", 1.0, 0)
    strange["params"][name] = value
    uri = write_store(root, "study", [combination("ridge_low", "ridge_low", 1.0, 0), strange], images=False)
    study = read(uri)
    assert study.runs["target"].tolist() == ["ridge_low"]
    (note,) = study.left_out
    assert note.startswith("left out: run ")
    assert name in note


def test_runs_without_a_kind_and_jobs_that_failed_of_a_word_are_no_trouble(uri: str) -> None:
    client = MlflowClient(uri)
    experiment = run_of(uri, "svm_low").info.experiment_id
    client.create_run(experiment)
    failed = client.create_run(experiment, tags={"kind": "combination", "error": "UserError: seed: expected a whole number"})
    client.log_batch(failed.info.run_id, params=[Param("seed", "x"), Param("surrogate", "ridge_low")])
    client.set_terminated(failed.info.run_id, "FAILED")
    study = read(uri)
    assert len(study.runs) == 2
    assert "1 run did not finish: UserError: seed: expected a whole number" in study.gaps


def test_a_tag_of_checksums_that_is_none_is_as_none(uri: str) -> None:
    run = run_of(uri, "svm_low")
    content = file_of(run).read_bytes()
    for value in ("no json", "[1]", "{}"):
        MlflowClient(uri).log_batch(run.info.run_id, tags=[RunTag(CHECKSUMS, value)])
        assert wrong_curve(run_of(uri, "svm_low"), content) is None


def test_a_run_records_the_checksums_of_its_files_and_is_done_again_when_one_is_lost(cli: Cli, root: Path) -> None:
    assert cli(*SMALL).rc == 0
    (run,) = runs(root)
    names = ("config.yaml", "overrides.yaml", "curves.csv", "examples.npz", "examples.png", "points.npz")
    files = {name: file_of(run, name).read_bytes() for name in names}
    assert json.loads(run.data.tags[CHECKSUMS]) == json.loads(checksums(files))
    assert "skipped" in cli(*SMALL).stderr
    file_of(run).write_bytes(files["curves.csv"].replace(b"0.5", b"0.6"))
    assert "finished" in cli(*SMALL).stderr
    assert "skipped" in cli(*SMALL).stderr
    assert len(runs(root)) == 2


# Examples.


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


GOOD = examples("ridge_low", 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"adversarial": GOOD["adversarial"][:2]}, "expected labels"),
        ({"clean": GOOD["clean"][:, :5]}, "expected labels"),
        ({"clean": GOOD["clean"].astype(str)}, "expected finite numbers"),
        ({"label": np.array(["a", "b", "c", "d"])}, "expected finite numbers"),
        ({"adversarial": GOOD["adversarial"] * np.nan}, "expected finite numbers"),
        ({"label": np.array(1)}, "expected labels"),
        (
            {name: GOOD[name][:0] for name in ("label", "clean")} | {"adversarial": GOOD["adversarial"][:, :0]},
            "expected labels",
        ),
        ({"clean": np.array([None])}, "Object arrays cannot be loaded"),
    ],
    ids=["epsilons", "another size", "words", "labels", "not finite", "one label", "no points", "objects"],
)
def test_examples_of_another_shape_are_refused(change: dict[str, Any], said: str, uri: str) -> None:
    run = run_of(uri, "svm_low")
    assert set(unpack(run, npz(**GOOD))) == {"label", "epsilon", "clean", "adversarial"}
    with pytest.raises(ValueError, match=said):
        unpack(run, npz(**{**GOOD, **change}))


def test_examples_that_are_left_out_are_named_with_their_file(root: Path) -> None:
    surrogates = ["ridge_low", "svm_low", "mlp_low", "rbf_low"]
    uri = write_store(root, "study", grid(surrogates, ["svm_low"], [1.0], [0]))
    study = read(uri)
    files = {
        name: next(root.rglob(f"{i}/artifacts/examples.npz"))
        for name, i in study.runs.set_index("surrogate")["run_id"].items()
    }
    files["svm_low"].write_bytes(b"PK half a file")
    files["mlp_low"].write_bytes(npz(**{**GOOD, "clean": GOOD["clean"] + 0.1}))
    found, notes = load_examples(tracking_uri=uri, study=study)
    assert [set(example.attacked) for example in found] == [{("ridge", "low"), ("rbf", "low")}] * 2
    assert [note.partition(": ")[2].split(":")[0] for note in notes] == [str(files["svm_low"]), "the examples of mlp_low"]
