"""From a notebook: ``track`` records what a command records, without Hydra."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, SOURCE, Cli, runs
from mlflow.entities import Run

from transfer_exp import Combination, Store, run, track
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.data.loaders import remembered
from transfer_exp.learners.linear import Ridge
from transfer_exp.report.records import load
from transfer_exp.tracking.configuration import as_configuration
from transfer_exp.tracking.settings import leaves
from transfer_exp.types import Box, Dataset, Grid, Sizes, UserError

FLEETING = {"seconds", "store/hits", "store/misses", "store/bytes"}


def same_by_hand(**changes: object) -> Combination:
    """The combination of ``SMALL``, as a notebook writes it."""
    parts = {
        "dataset": load_digits(name="digits89", classes=(8, 9), split=Sizes(test=20)),
        "surrogate": Ridge(name="ridge_high", complexity="high", alpha=1),
        "target": Ridge(name="ridge_low", complexity="low", alpha=10.0),
        "attack": Evasion(name="evasion", norm="l2", n_iter=5),
        "epsilon": Grid(grid=(0, 0.5), reference=0.5, shown=(0.5,)),
        "n_variability": 2,
    }
    return Combination(**{**parts, **changes})


def files(run: Run) -> dict[str, bytes]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_notebook_and_a_command_record_the_same(cli: Cli, root: Path) -> None:
    assert cli(*SMALL, "study=typed").rc == 0
    tracked = track(same_by_hand(), study="written")
    ((typed,), (written,)) = runs(root, "typed"), runs(root, "written")
    assert (tracked.status, tracked.run_id) == ("finished", written.info.run_id)
    assert written.data.params == {**typed.data.params, "study": "written"}
    assert written.info.run_name == "ridge_high > ridge_low seed 0"
    own = ("mlflow.note.content", "mlflow.runName", "lock", "checksums", "job")
    tags = [{k: v for k, v in one.data.tags.items() if k not in own} for one in (typed, written)]
    assert tags[0] == tags[1]
    numbers = [{k: v for k, v in one.data.metrics.items() if k not in FLEETING} for one in (typed, written)]
    assert numbers[0] == numbers[1]
    assert written.inputs == typed.inputs
    typed_files, written_files = files(typed), files(written)
    assert set(written_files) == set(typed_files) - {"overrides.yaml"}
    assert written_files["curves.csv"] == typed_files["curves.csv"].replace(b"typed,", b"written,")
    assert tracked.outcome is not None
    assert tracked.outcome.metrics["clean_error"] == written.data.metrics["clean_error"]
    assert "transfer_exp.track" in written.data.tags["mlflow.note.content"]


def test_each_finds_what_the_other_finished(cli: Cli, root: Path) -> None:
    assert cli(*SMALL).rc == 0
    found = track(same_by_hand())
    assert (found.status, found.run_id, found.outcome) == ("skipped", runs(root)[0].info.run_id, None)
    assert track(same_by_hand(seed=1)).status == "finished"
    assert "skipped" in cli(*SMALL, "seed=1").stderr
    assert track(same_by_hand(), resume=False).status == "finished"
    assert track(same_by_hand(), study="other").status == "finished"
    assert len(runs(root)) == 3


@pytest.mark.slow
def test_a_report_reads_a_study_that_both_made(cli: Cli, root: Path) -> None:
    assert cli("-m", *SMALL, "study=mixed", "seed=0,1").rc == 0
    track(same_by_hand(seed=2), study="mixed")
    track(same_by_hand(seed=0, target=Ridge(name="ridge_high", complexity="high", alpha=1)), study="mixed")
    found = load(tracking_uri=f"sqlite:///{root}/mlflow.db", study="mixed")
    assert found.settings == {}  # nothing but learners and seeds tells them apart
    assert not found.others
    assert list(found.runs.groupby("target")["seed"].apply(sorted)) == [[0], [0, 1, 2]]
    alone = load(tracking_uri=f"sqlite:///{root}/mlflow.db", study="mixed", only=[runs(root, "mixed")[-1].info.run_id])
    assert len(alone.curves) == 2


def test_an_option_that_a_configuration_leaves_to_its_default_is_a_parameter_either_way(cli: Cli, root: Path) -> None:
    words = [f"~surrogate.{option}" for option in ("scale", "tolerance")]
    assert cli(*SMALL, "surrogate=svm_high", "study=typed", *words).rc == 0
    (typed,) = runs(root, "typed")
    assert (typed.data.params["surrogate.scale"], typed.data.params["surrogate.tolerance"]) == ("none", "0.001")


CHOICES = [(g, f.stem) for g in ("target", "attack", "epsilon") for f in sorted((SOURCE / "conf" / g).glob("*.yaml"))]


# Of the data's scale: they are epsilons once they are built.
SHARES = {f"epsilon.{key}" for key in ("_target_", "shares", "reference_share", "shown_shares")}


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_of_every_shipped_choice_the_object_has_the_settings_of_the_configuration(group: str, name: str, root: Path) -> None:
    from hydra import compose, initialize_config_dir  # here: another test imports this file where there is no Hydra

    from transfer_exp.cli.building import build
    from transfer_exp.cli.configuration import settings_of

    with initialize_config_dir(str(SOURCE / "conf"), version_base="1.3"):
        weights = root / "own.safetensors"
        weights.touch()
        words = {
            "evasion_add": ["dataset=synthetic"],
            "foreign": ["attack.attack=foreign_attacks:sign_step"],
            "torch_module": ["target.module._target_=torch.nn.modules.linear.Linear"],
            "predictor": ["target.function._target_=builtins.sum", "target.gives=labels"],
            "onnx": [f"target.file={weights}", "target.gives=labels"],
            "pretrained": ["target.module._target_=torch.nn.modules.linear.Linear", f"target.weights={weights}"],
        }
        config = compose("config", [f"{group}={name}", *words.get(name, [])])
    typed, written = leaves(settings_of(config)), leaves(as_configuration(build(config)))
    built_from = SHARES if name == "data_scale" else set()
    assert set(typed) - set(written) - built_from == {"threads", "scale"}  # which ``track`` adds
    other = {(key, value) for key, value in typed.items() - written.items() if key not in built_from}
    assert other == {("threads", "1"), ("scale", "none")}


def test_the_points_of_a_data_set_are_never_gone_through() -> None:
    """70,000 images of 784 numbers would take minutes a run."""

    class Watched(np.ndarray):
        def __iter__(self) -> Iterator[object]:
            raise AssertionError("the points were gone through")

    data = same_by_hand().dataset
    watched = replace(data, x=data.x.view(Watched), y=data.y.view(Watched))
    assert as_configuration(same_by_hand(dataset=watched))["dataset"]["classes"] == [8, 9]


@pytest.mark.slow
def test_it_needs_no_hydra(root: Path) -> None:
    text = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_track import same_by_hand
before = [name for name in sys.modules if name.split(".")[0] in ("hydra", "omegaconf", "hydra_plugins")]
from transfer_exp import track
track(same_by_hand())
print(json.dumps([before, "mlflow" in sys.modules, [n for n in sys.modules if n.split(".")[0] in ("hydra", "omegaconf")]]))
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, cwd=root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], True, []]
    assert len(runs(root)) == 1


def test_the_door_imports_nothing_before_it_is_asked() -> None:
    text = "import sys, transfer_exp; print([n for n in ('torch', 'mlflow', 'numpy') if n in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from transfer_exp import nothing  # noqa: F401


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"study": "a/../b"}, "study: expected a name"),
        ({"threads": 0}, "threads: expected a whole number >= 1, got 0"),
        ({"tracking_uri": "http://127.0.0.1:1"}, "tracking: expected a tracking store at http://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, object], expected: str, root: Path) -> None:
    with pytest.raises(UserError, match=expected):
        track(same_by_hand(), **options)
    assert not (root / "store" / "learner").exists()


def test_places_are_those_that_are_given(root: Path, tmp_path: Path, empty_database: Path) -> None:
    there, pieces = tmp_path / "there", tmp_path / "pieces"
    there.mkdir()
    shutil.copy(empty_database, there)
    tracked = track(same_by_hand(), root=there, store=pieces)
    assert list(pieces.rglob("*.npz"))
    assert not (there / "store").exists()
    assert not runs(root)
    (one,) = runs(there)
    assert one.info.run_id == tracked.run_id
    # What ``run`` gives from the same store.
    outcome = run(same_by_hand(), Store(pieces))
    assert one.data.metrics.items() >= outcome.metrics.items()


@remembered
def load_own(*, n: int, split: Sizes, flipped: bool = False) -> Dataset:
    x = np.random.default_rng(0).uniform(size=(n, 5))
    y = ((x[:, 0] > 0.5) != flipped).astype(np.int64)
    return Dataset(name="own", x=x, y=y, box=Box.uniform(5), sizes=split, test_pool=np.zeros(n, bool), checksum="any")


def test_a_data_set_remembers_its_loader_until_it_is_another() -> None:
    made = load_own(n=60, split=Sizes(test=10))
    other = load_own(n=60, split=Sizes(test=10), flipped=True)
    assert made.checksum != other.checksum  # computed: the loader says the same of both
    assert {k: v for k, v in made.made_by.items() if k != "_checksum_"} == {
        "_target_": "test_track.load_own", "n": 60, "split": Sizes(test=10), "flipped": False,
    }  # fmt: skip
    combination = same_by_hand(dataset=made)
    assert combination.signature() == same_by_hand(dataset=replace(made, made_by={})).signature()
    assert as_configuration(combination)["dataset"]["flipped"] is False
    changed = same_by_hand(dataset=replace(made, y=1 - made.y, checksum="mine"))
    assert "flipped" not in as_configuration(changed)["dataset"]
    assert as_configuration(changed)["dataset"]["checksum"] == "mine"
