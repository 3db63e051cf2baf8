"""What is logged of a combination: every parameter, every number, one row of curves.csv per epsilon."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

import transfer_exp
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.cli import configuration
from transfer_exp.combination import Combination, Outcome
from transfer_exp.learners import MLP, Ridge
from transfer_exp.measures.registry import curves
from transfer_exp.store import Store
from transfer_exp.tracking import recording, versions
from transfer_exp.tracking.configuration import as_configuration
from transfer_exp.types import Box, Dataset, Examples, Grid, Sizes

GRID = Grid(grid=(0.0, 0.5, 1.0), reference=0.5, shown=(0.5, 1.0))
IDENTITY = {
    "study": "tiny",
    "dataset": "own",
    "attack": "evasion",
    "surrogate": "ridge_low",
    "target": "mlp_high",
    "surrogate_fraction": 0.5,
    "seed": 3,
}


def config(**changes: Any) -> DictConfig:
    whole = {
        "study": "tiny",
        "dataset": {"name": "own", "_target_": "load"},
        "attack": {"name": "evasion"},
        "surrogate": {"_target_": "Ridge", "name": "ridge_low", "alpha": "${shrinkage}"},
        "target": {"_target_": "MLP", "name": "mlp_high", "hidden": [5, 4], "n_epochs": 2},
        "shrinkage": 2.5,
        "surrogate_fraction": 0.5,
        "seed": 3,
    }
    return OmegaConf.create({**whole, **changes})


@pytest.fixture
def combination() -> Combination:
    x, y = np.eye(12), np.repeat([1, 0], 6)
    sizes, pool = Sizes(test=2), np.zeros(12, dtype=bool)
    data = Dataset(name="own", x=x, y=y, box=Box.uniform(12), sizes=sizes, test_pool=pool, checksum="c")
    return Combination(dataset=data, surrogate=Ridge(alpha=2.5), target=MLP(), attack=Evasion(norm="linf"), epsilon=GRID)


@pytest.fixture
def outcome() -> Outcome:
    values = {name: [k + 0.25, k + 0.5, k + 0.75] for k, name in enumerate(curves()) if name != "loss"}
    values["perturbation_correlation"] = [float("nan"), 0.25, 0.5]
    values["objective"] = [1.0, 2.0, 3.0]  # no column of curves.csv
    pictures = np.linspace(0, 1, 8).reshape(2, 2, 2)
    examples = Examples(
        index=np.array([0, 1]), label=np.array([1, -1]), epsilon=np.array([0.5]), clean=pictures, adversarial=pictures[None]
    )
    return Outcome(
        metrics={"clean_error": 0.125, "gradient_size": 2.0}, curves=values, sizes={"n_test": 2}, examples=examples
    )


@pytest.fixture
def record(combination: Combination, outcome: Outcome, tmp_path: Path) -> recording.Record:
    store = Store(tmp_path)
    for key in ("a", "a", "b", "a"):
        store.get("learner", key, lambda: {"x": np.ones(1)})
    return recording.record(combination, outcome, store, IDENTITY)


def parameters(node: DictConfig, combination: Combination | None = None) -> dict[str, str]:
    return recording.parameters(configuration.settings_of(node), configuration.identity(node), combination)


def test_parameters_tell_all_that_was_chosen(combination: Combination) -> None:
    found = {
        "dataset._target_": "load",
        "surrogate._target_": "Ridge",
        "surrogate.alpha": "2.5",
        "target._target_": "MLP",
        "target.hidden": "[5, 4]",
        "target.n_epochs": "2",
        "shrinkage": "2.5",
        **{name: str(value) for name, value in IDENTITY.items()},
    }
    assert parameters(config()) == found
    # What was built has more to say: defaults, too. Of names and numbers the configuration's stand.
    built = parameters(config(), combination)
    assert {name: built[name] for name in ("surrogate._target_", "surrogate.scale", "attack.norm", "epsilon.grid")} == {
        "surrogate._target_": "transfer_exp.learners.linear.Ridge",
        "surrogate.scale": "none",
        "attack.norm": "linf",
        "epsilon.grid": "[0, 0.5, 1]",
    }
    assert {name: built[name] for name in IDENTITY} == {name: found[name] for name in IDENTITY}
    assert built["dataset._target_"] == "transfer_exp.types.Dataset"  # made here, by no loader
    assert (built["dataset.checksum"], built["dataset.split.test"]) == ("c", "2")


def test_of_an_attack_without_an_option_for_it_the_norm_is_a_parameter(combination: Combination) -> None:
    malware = replace(combination, attack=EvasionAdd())
    assert "norm" not in as_configuration(malware)["attack"]
    assert parameters(config(), malware)["attack.norm"] == malware.attack.norm


@dataclass(frozen=True, kw_only=True)
class Kind(Ridge):
    family: ClassVar[str] = "ridge"


def test_tags_say_identity_data_and_kinds(combination: Combination) -> None:
    tags = recording.tags_of(replace(combination, surrogate=Kind(alpha=1)))
    assert tags["surrogate.family"] == "ridge"
    assert tags["data_checksum"] == "c"
    assert tags["signature"] == replace(combination, surrogate=Kind(alpha=1)).signature()
    assert [name for name in tags if name.startswith("source/")] == ["source/test_records.Kind"]


@pytest.mark.parametrize("broken", ["${nowhere}", "${oc.env:NOT_SET_ANYWHERE}"])
def test_parameters_that_resolve_are_recorded_though_others_do_not(broken: str) -> None:
    node = config()
    OmegaConf.set_struct(node, value=False)
    node.surrogate.alpha, node.seed = broken, broken
    lacking = {"surrogate.alpha", "seed"}
    assert parameters(node) == {k: v for k, v in parameters(config()).items() if k not in lacking}


def test_a_learner_without_a_name_goes_by_its_class() -> None:
    for name in ("", None):
        node = config(surrogate={"_target_": "transfer_exp.learners.linear.Ridge", "name": name})
        assert configuration.identity(node)["surrogate"] == "Ridge"


@pytest.mark.parametrize("missing", IDENTITY)
def test_what_a_configuration_lacks_or_cannot_resolve_is_left_out(missing: str) -> None:
    node = OmegaConf.to_container(config())
    assert isinstance(node, dict)
    lacking, broken = ({k: v for k, v in node.items() if k != missing}, {**node, missing: "${nowhere}"})
    expected = {name: value for name, value in IDENTITY.items() if name != missing}
    assert list(configuration.identity(config()).items()) == list(IDENTITY.items())
    for found in (configuration.identity(OmegaConf.create(lacking)), configuration.identity(OmegaConf.create(broken))):
        assert found == expected


def test_numbers_and_sizes_are_those_of_the_outcome(record: recording.Record, outcome: Outcome, tmp_path: Path) -> None:
    assert record.params == outcome.sizes
    written = sum(file.stat().st_size for file in tmp_path.rglob("*.npz"))
    assert record.metrics == {**outcome.metrics, "store/hits": 2, "store/misses": 3, "store/bytes": written}
    assert record.curves == {**outcome.curves, "epsilon": [0.0, 0.5, 1.0]}


def test_curves_csv_has_a_row_per_epsilon_and_nothing_where_a_value_is_undefined(
    record: recording.Record, outcome: Outcome
) -> None:
    assert b"\r" not in record.files["curves.csv"]
    rows = list(csv.reader(io.StringIO(record.files["curves.csv"].decode())))
    head, body = rows[0], rows[1:]
    assert head == [*IDENTITY, "epsilon", "clean_error", *curves()]
    assert len(set(head)) == len(head)
    for k, row in enumerate(body):
        values = {name: outcome.curves.get(name, [float("nan")] * 3)[k] for name in curves()}
        cells = ["" if np.isnan(value) else str(value) for value in values.values()]
        assert row == [*map(str, IDENTITY.values()), str(GRID.grid[k]), "0.125", *cells]
    assert len(body) == 3
    assert [row[head.index("perturbation_correlation")] for row in body] == ["", "0.25", "0.5"]
    assert {row[head.index("loss")] for row in body} == {""}


def test_files_hold_the_resolved_configuration_what_was_typed_and_the_pictures(
    record: recording.Record, combination: Combination, outcome: Outcome, tmp_path: Path
) -> None:
    assert set(record.files) == {"curves.csv", "examples.npz", "examples.png"}
    typed = configuration.files_of(config(), ["seed=3", "shrinkage=2.5"])
    assert set(typed) == {"config.yaml", "overrides.yaml"}
    resolved = OmegaConf.create(typed["config.yaml"].decode())
    assert OmegaConf.to_container(resolved, resolve=False)["surrogate"]["alpha"] == 2.5
    assert OmegaConf.to_container(OmegaConf.create(typed["overrides.yaml"].decode())) == ["seed=3", "shrinkage=2.5"]
    with np.load(io.BytesIO(record.files["examples.npz"]), allow_pickle=False) as found:
        np.testing.assert_equal(dict(found), vars(outcome.examples))
    assert record.files["examples.png"].startswith(b"\x89PNG")
    few = recording.record(combination, outcome, Store(tmp_path), IDENTITY, pictures=False)
    assert set(few.files) == {"curves.csv", "examples.npz"}
    outcome.examples = None
    without = recording.record(combination, outcome, Store(tmp_path), IDENTITY)
    assert set(without.files) == {"curves.csv"}


def test_versions_are_those_installed() -> None:
    found = versions.versions()
    for package in ("torch", "scikit-learn", "numpy", "scipy", "mlflow", "hydra-core"):
        assert found[f"version/{package}"] == version(package)
    assert found["version/transfer_exp"] == transfer_exp.__version__
    assert found["version/python"] == "{}.{}.{}".format(*sys.version_info[:3])
    assert len(found) == 9


def _fails(*_: Any, **__: Any) -> None:
    raise subprocess.CalledProcessError(128, "git")


def _lacks(*_: Any, **__: Any) -> None:
    raise FileNotFoundError("git")


def test_the_commit_is_that_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(versions.transfer_exp, "__file__", str(tmp_path / "__init__.py"))
    assert versions._git_commit() == "unknown"
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    assert re.fullmatch("[0-9a-f]{40}", versions._git_commit())
    (tmp_path / "__init__.py").write_text("changed")
    assert re.fullmatch("[0-9a-f]{40}-dirty", versions._git_commit())


@pytest.mark.parametrize("git", [_fails, _lacks])
def test_without_git_the_commit_is_unknown(git: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", git)
    assert versions._git_commit() == "unknown"


def test_the_commit_is_that_of_a_tree_which_holds_the_package(tmp_path, monkeypatch):
    """Installed below somebody else's checkout, the package has no commit of its own."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    package = tmp_path / "site" / "transfer_exp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "other").write_text("")
    monkeypatch.setattr(versions.transfer_exp, "__file__", str(package / "__init__.py"))
    for words in (["init", "-q"], ["add", "other"], ["commit", "-qm", "theirs"]):
        subprocess.run([*git, *words], check=True)
    assert versions._git_commit() == "unknown"
    for words in (["add", "site"], ["commit", "-qm", "ours"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert versions._git_commit() == head
