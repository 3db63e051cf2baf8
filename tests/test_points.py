"""Points as goods: what is exported has the errors of its run, what anybody brings is shown as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL, Cli, runs
from mlflow.tracking import MlflowClient
from PIL import Image

from transfer_exp.cli.evaluating import main as evaluate
from transfer_exp.cli.exporting import main as export
from transfer_exp.points import PointsFile, read, write
from transfer_exp.points.file import compact
from transfer_exp.system.npz import read_npz
from transfer_exp.tracking.connecting import sqlite_uri

POISONING = (
    *("attack=poisoning", "attack.n_iter=2", "epsilon.grid=[0,0.05,0.1]", "epsilon.reference=0.1", "epsilon.shown=[0.05]"),
    *("dataset.split={target: 40, surrogate: 40, validation: 20, test: 30}", "n_variability=2"),
    *("surrogate=ridge_low", "target=logistic_low"),
)
MALWARE = (
    *("attack=evasion_add", "attack.n_attacked=15", "attack.false_alarm_rate=0.1", "dataset=synthetic"),
    *("dataset.n_points=400", "dataset.n_columns=60", "dataset.n_features=20", "n_variability=2"),
    *("dataset.split={target: 100, surrogate: 100, validation: 80, test: 100}", "surrogate=ridge_low", "target=svm_low"),
    *("epsilon.grid=[0,2,4]", "epsilon.reference=2", "epsilon.shown=[2,4]"),
)


def curve(root: Path, run_id: str, name: str) -> list[float]:
    history = MlflowClient(sqlite_uri(root)).get_metric_history(run_id, f"curve/{name}")
    return [one.value for one in sorted(history, key=lambda one: one.step)]


def shown(tmp_path: Path, *words: str) -> dict[str, Any]:
    assert evaluate([*words, f"json={tmp_path / 'shown.json'}"]) == 0
    found: dict[str, Any] = json.loads((tmp_path / "shown.json").read_text())
    return found


@pytest.mark.parametrize(
    "words",
    [
        SMALL,
        pytest.param((*SMALL, "dataset=digits", "attack.goal=next"), marks=pytest.mark.slow),
        pytest.param(MALWARE, marks=pytest.mark.slow),
        POISONING,
    ],
    ids=["two classes", "ten classes", "malware", "poisoning"],
)
def test_the_error_of_exported_points_is_that_of_the_run(
    words: tuple[str, ...], cli: Cli, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(*words, "seed=3").rc == 0
    (run,) = runs(root)
    assert export([f"run={run.info.run_id}", "epsilons=all", "png=0"]) == 0
    (file,) = (root / "points" / "single").glob("*.npz")
    found = shown(tmp_path, f"points={file}")
    recorded = curve(root, run.info.run_id, "error")
    assert found["error"] == recorded
    assert found["recorded_error"] == recorded
    assert found["transfer_rate"] == pytest.approx(curve(root, run.info.run_id, "success") or found["transfer_rate"])
    assert found["about"]["runs"] == [{"run_id": run.info.run_id, "target": run.data.params["target"]}]
    assert not [note for note in found["notes"] if "training data" in note]
    # Without the store, all of it is made again, and it is the same.
    before = read_npz(file)
    shutil.rmtree(root / "store")
    assert export([f"run={run.info.run_id}", "epsilons=all", "png=0"]) == 0
    after = read_npz(file)
    assert {name: array.tobytes() for name, array in before.items()} == {n: a.tobytes() for n, a in after.items()}
    assert "recorded error" in capsys.readouterr().out


@pytest.mark.slow
def test_a_study_gives_one_file_a_surrogate_and_seed_and_any_model_may_be_shown_them(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    assert (
        cli("-m", *SMALL, "study=many", "seed=0,1", "surrogate=ridge_high,svm_low", "target=ridge_low,logistic_low").rc == 0
    )
    assert export(["study=many", "where=surrogate=svm_low attack.n_iter=5", "png=2", f"out={tmp_path / 'out'}"]) == 0
    files = sorted((tmp_path / "out").glob("*.npz"))
    assert [file.name.rpartition("_")[0] for file in files] == ["svm_low_seed0", "svm_low_seed1"]
    content = read(files[1])
    assert (content.points.shape, content.epsilon.tolist(), content.shape) == ((1, 20, 64), [0.5], (8, 8))
    assert (content.about["seed"], len(content.about["runs"])) == (1, 2)
    pictures = sorted(tmp_path.glob("out/svm_low_seed1_*/*.png"))
    assert [p.name.partition("_")[2].partition("_")[2] for p in pictures] == ["clean.png", "eps0.5.png"] * 2
    assert content.clean is not None
    drawn = np.asarray(Image.open(pictures[0]), dtype=np.float64) / 255
    np.testing.assert_allclose(drawn.ravel(), content.clean[0], atol=0.5 / 255 + 1e-12)
    by_target = {
        run.data.params["target"]: run
        for run in runs(root, "many", kind="combination")
        if run.data.params["seed"] == "1" and run.data.params["surrogate"] == "svm_low"
    }
    for target, run in by_target.items():
        found = shown(tmp_path, f"points={files[1]}", f"target={target}")
        assert found["error"] == found["recorded_error"] == [curve(root, run.info.run_id, "error")[1]]
    other = shown(tmp_path, f"points={files[1]}", "target=logistic_high", "seed=0")
    assert other["recorded_error"] is None
    assert any("in the target's training data (seed 0)" in note for note in other["notes"])


def test_points_that_are_not_those_of_the_run_are_refused(cli: Cli, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(*SMALL).rc == 0
    (run,) = runs(root)
    crafted = sorted((root / "store" / "crafted").glob("*.npz"))
    for file in crafted:  # plausible, whole, and wrong: the points did not move
        arrays = read_npz(file)
        arrays["offsets"] = np.zeros_like(arrays["offsets"])
        np.savez(file, allow_pickle=False, **arrays)
    for file in (root / "store" / "own_logits").glob("*.npz"):
        file.unlink()
    assert export([f"run={run.info.run_id}"]) == 2
    told = capsys.readouterr().err
    assert f"error: run {run.info.run_id}: expected points with its recorded" in told
    assert "resume=false" in told
    assert not list(root.glob("points/**/*.npz"))


ANYBODY = """
import numpy as np

def positive(points):
    return (points[:, 0] > 0).astype(int)
"""


@pytest.fixture
def world(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two features in [-1, 1]; a given model that looks at the sign of the first alone."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (60, 2))
    np.savez(root / "data.npz", X=x, y=np.where(x[:, 0] > 0, "right", "left"), lower=-1.0, upper=1.0)
    (root / "own_answers.py").write_text(ANYBODY)
    monkeypatch.chdir(root)
    return root


def anybody(file: Path, **arrays: Any) -> Path:
    given: Mapping[str, Any] = {
        "points": np.array([[0.5, 0], [-0.1, 0], [-0.2, 0], [-0.9, 0.3]]),
        "labels": np.array(["right", "right", "right", "left"]),
        "clean": np.array([[0.6, 0], [0.1, 0], [-0.3, 0], [-0.9, 0.0]]),
        **arrays,
    }
    np.savez(file, **{name: array for name, array in given.items() if array is not None})
    return file


MODEL = (
    *("dataset=arrays", "dataset.file=data.npz", "dataset.split.test=20", "target=predictor"),
    *("target.function._target_=own_answers.positive", "target.gives=labels"),
)


def test_points_of_anybody_are_counted_by_hand(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = anybody(tmp_path / "points.npz")
    found = shown(tmp_path, f"points={file}", *MODEL, f"csv={tmp_path / 'shown.csv'}")
    # Points 2 and 3 are taken for left; of the three that were right before (1, 2, 4), point 2 is.
    assert (found["error"], found["clean_error"], found["epsilon"]) == ([0.5], 0.25, [None])
    assert found["transfer_rate"] == pytest.approx([1 / 3])
    assert found["confusion"] == [[[1, 0], [2, 1]]]
    assert found["clean_confusion"] == [[1, 0], [1, 2]]
    assert found["largest_distance"]["l2"] == pytest.approx([0.3])
    assert found["class_names"] == ["left", "right"]
    table = capsys.readouterr().out
    assert "right as left (2)" in table
    assert "whether it has learned these points is unknown" in table
    assert (tmp_path / "shown.csv").read_text().splitlines()[1].startswith("predictor,,4,,0.5,0.333")


def test_a_folder_of_configurations_may_be_named_anywhere(world: Path, tmp_path: Path) -> None:
    """Hydra's parser takes overrides in one piece only."""
    file = anybody(tmp_path / "points.npz")
    (tmp_path / "conf" / "target").mkdir(parents=True)
    (tmp_path / "conf" / "target" / "mine.yaml").write_text("defaults: [predictor]\n")
    words = [word.replace("target=predictor", "target=mine") for word in MODEL]
    for folder in ([f"--config-dir={tmp_path / 'conf'}"], ["--config-dir", str(tmp_path / "conf")]):
        found = shown(tmp_path, f"points={file}", words[0], *folder, *words[1:])
        assert found["error"] == [0.5]


def test_labels_may_be_numbers_in_any_order_that_class_names_tell(world: Path, tmp_path: Path) -> None:
    swapped = anybody(tmp_path / "a.npz", labels=np.array([0, 0, 0, 1]), class_names=np.array(["right", "left"]))
    assert shown(tmp_path, f"points={swapped}", *MODEL)["error"] == [0.5]
    plain = anybody(tmp_path / "b.npz", labels=np.array([1, 1, 1, 0], dtype=np.uint8), clean=None)
    found = shown(tmp_path, f"points={plain}", *MODEL)
    assert (found["error"], found["transfer_rate"], found["clean_error"]) == ([0.5], [None], None)


def test_several_strengths_are_blocks(world: Path, tmp_path: Path) -> None:
    clean = np.array([[0.6, 0], [0.1, 0], [-0.3, 0]])
    blocks = np.stack([clean, clean - [0.2, 0], clean - [0.9, 0]])
    about = json.dumps({"norm": "linf"})
    file = anybody(
        tmp_path / "points.npz", points=blocks, labels=np.array([1, 1, 0]), clean=clean, epsilon=[0, 0.2, 0.5], about=about
    )
    found = shown(tmp_path, f"points={file}", *MODEL)
    assert found["error"] == pytest.approx([0, 1 / 3, 2 / 3])
    assert any("0.9 away in linf where epsilon is 0.5" in note for note in found["notes"])
    assert any("33.3%" not in note and "outside the box" in note for note in found["notes"])  # -1.2 is below -1


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no points": ({"points": None}, "expected arrays points and labels, got clean, labels"),
    "other features": ({"points": np.zeros((4, 3))}, "points: expected shape (4, 2)"),
    "other number": ({"labels": np.array([1, 1, 1])}, "points: expected shape (3, 2)"),
    "a stranger": ({"labels": np.array(["right", "up", "right", "left"])}, "expected classes of data (left, right), got up"),
    "a number too large": ({"labels": np.array([0, 1, 2, 1])}, "expected class indices 0 to 1 of data, got 0 to 2"),
    "half a class": ({"labels": np.array([0, 0.5, 1, 1])}, "expected class indices 0 to 1"),
    "not finite": ({"points": np.full((4, 2), np.nan)}, "expected finite numbers in points, got 8 others"),
    "bytes": ({"points": np.full((4, 2), 255, dtype=np.uint8)}, "expected the units of the data, -1 to 1, got 255 to 255"),
    "other clean points": ({"clean": np.zeros((3, 2))}, "clean: expected shape (4, 2)"),
    "objects": ({"points": np.array([[object()]] * 4)}, "expected an .npz of plain arrays"),
    "a strange kind": ({"kind": np.array("noise")}, "expected kind evasion or poisoning, got 'noise'"),
    "poisoning without shares": ({"kind": np.array("poisoning")}, "expected an array epsilon"),
    "poisoning of evasion": ({"kind": np.array("poisoning"), "epsilon": np.array([0, 0.1])}, "add attack=poisoning"),
    "text about": ({"about": np.array("[1")}, "expected a JSON object in about"),
    "negative strength": ({"epsilon": np.array([-1.0])}, "expected strengths >= 0"),
}


@pytest.mark.parametrize(("arrays", "expected"), BAD.values(), ids=list(BAD))
def test_bad_files_end_in_one_line(
    arrays: dict[str, Any], expected: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = anybody(tmp_path / "points.npz", **arrays)
    assert evaluate([f"points={file}", *MODEL]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert expected in told[-1]
    assert told[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dataset=digits"], "points: expected points=FILE.npz, got none"),
        (["points=none.npz", "dataset=digits"], "none.npz, which is not there"),
        (["points=points.npz"], "dataset: expected dataset=..."),
        (["points=points.npz", "dataset=digits"], "target: expected target=..."),
        (["points=points.npz", *MODEL, "-m"], "got a sweep"),
        (["points=points.npz", *MODEL, "json=data.npz/no.json"], "json: expected to be able to write"),
    ],
)
def test_bad_words_end_in_one_line(words: list[str], expected: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    anybody(world / "points.npz")
    assert evaluate(words) == 2
    assert expected in capsys.readouterr().err


BAD_EXPORTS: tuple[tuple[list[str], str], ...] = (
    ([], "expected run=ID or study=NAME, one of them"),
    (["run=x", "study=y"], "one of them"),
    (["run=x"], "expected the id of a run, got x"),
    (["study=none"], "study: expected one of"),
    (["study=single", "png=-1"], "png: expected a whole number >= 0, got -1"),
    (["study=single", "epsilons=0.3"], "epsilons: expected values of the grid [0, 0.5], got [0.3]"),
    (["study=single", "epsilons=some"], "epsilons: expected shown, all, or numbers"),
    (["study=single", "where=seed.x=1"], "where: expected a setting"),
    (["study=single", "where=surrogate=mine"], "where: expected surrogate=ridge_high, got surrogate=mine"),
    (["points=x"], "got points=x; see --help"),
)


def test_bad_words_of_export_end_in_one_line(cli: Cli, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(*SMALL).rc == 0
    for words, expected in BAD_EXPORTS:
        assert export(words) == 2
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(3))
def test_numbers_keep_their_exact_value(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    kinds = {
        np.dtype(np.uint8): rng.integers(0, 2, (1, 5, 3)).astype(float),
        np.dtype(np.float32): rng.normal(size=(1, 5, 3)).astype(np.float32).astype(float),
        np.dtype(np.float64): rng.normal(size=(1, 5, 3)),
    }
    for dtype, points in kinds.items():
        assert compact(points).dtype == dtype
        write(tmp_path / "a.npz", PointsFile(points=points, labels=np.zeros(5, dtype=np.int64), epsilon=np.array([1.0])))
        np.testing.assert_array_equal(read(tmp_path / "a.npz").points, points, strict=True)
    assert compact(np.array([[-0.0, 300.0]])).dtype == np.float32
