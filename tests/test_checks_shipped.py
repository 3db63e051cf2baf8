"""Everything that is shipped passes the checks, and the command says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import SOURCE, Ended
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from transfer_exp.checks import Finding, check_attack, check_dataset, check_learner, table
from transfer_exp.cli.building import parts_of, read_dataset
from transfer_exp.cli.checking import main

CONF = SOURCE / "conf"
N_TRAINING = 60
SMALL_DATA = ("digits", "digits89", "synthetic")
QUICK = {"svm_low", "rbf_low", "mlp_low", "forest_low", "ensemble"}
ATTACKS = {  # on data that it can be made on
    "foreign": ("attack.attack=foreign_attacks:l2_step", "dataset=digits89", "epsilon=digits89"),
    "evasion": ("dataset=digits89", "epsilon=digits89"),
    "evasion_add": (
        "dataset=synthetic",
        "epsilon=drebin",
        "dataset.n_points=600",
        "dataset.n_columns=300",
        "dataset.n_features=100",
        "dataset.split.target=100",
        "dataset.split.surrogate=100",
        "dataset.split.validation=100",
        "dataset.split.test=100",
    ),
    **dict.fromkeys(
        (
            "poisoning",
            "poisoning_aware",
            "flips_random",
            "flips_influence",
            "flips_greedy",
            "starts",
            "random_points",
            "prototypes",
        ),
        ("dataset=digits89", "epsilon=poisoning"),
    ),
    **dict.fromkeys(
        ("admix", "difgsm", "iterative", "mifgsm", "nifgsm", "pgd", "sinifgsm", "tifgsm", "vmifgsm"),
        ("dataset=digits", "epsilon=images_linf"),
    ),
}
SLOW_ATTACKS = {
    "difgsm",
    "iterative",
    "mifgsm",
    "nifgsm",
    "pgd",
    "sinifgsm",
    "tifgsm",
    "vmifgsm",
}  # their parts: test_iterative.py


ONLY_TARGETS = ("forest", "sklearn")


def shipped(group: str) -> list[str]:
    """Choices of a group that work as they are: nothing of the user's is missing."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if "???" not in _text(group, file.stem))


def _text(group: str, name: str) -> str:
    learner = CONF / "learner" / f"{name}.yaml"
    return learner.read_text() if group in ("surrogate", "target") else (CONF / group / f"{name}.yaml").read_text()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


@cache
def learner_findings(role: str, name: str) -> list[Finding]:
    made = parts_of(composed(f"{role}={name}", "dataset=digits"), [role, "dataset"])
    return check_learner(made[role], made["dataset"], n_training=N_TRAINING)


def failed(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.result == "FAILED"]


@pytest.mark.parametrize(
    ("role", "name"),
    [
        pytest.param(role, name, marks=[pytest.mark.slow] if role == "surrogate" or name not in QUICK else [])
        for role in ("target", "surrogate")
        for name in shipped(role)
    ],
)
def test_a_shipped_learner_passes(role: str, name: str) -> None:
    found = learner_findings(role, name)
    assert failed(found) == [], table(found)
    results = {one.check: one.result for one in found}
    assert results["gradients"] == ("not applicable" if name.startswith(ONLY_TARGETS) else "ok")
    assert {results[name] for name in ("seed", "signature")} == {"ok"}
    assert results["restored"] == ("not applicable" if name in ("ensemble", "sklearn") else "ok")  # see their ``state``
    assert results["store"] == ("not applicable" if name == "sklearn" else "ok")


def test_every_learner_that_is_shipped_is_checked() -> None:
    assert {"cnn", "forest_low", "mlp_low", "svm_low"} <= set(shipped("target"))
    assert {"torch_module", "pretrained"}.isdisjoint(shipped("target"))  # what is the user's has no default
    assert set(shipped("surrogate")) == {name for name in shipped("target") if not name.startswith(ONLY_TARGETS)}


def test_every_attack_that_is_shipped_is_checked() -> None:
    assert set(shipped("attack")) == set(ATTACKS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_ATTACKS else []) for name in ATTACKS]
)
def test_a_shipped_attack_passes(name: str) -> None:
    config = composed(f"attack={name}", *ATTACKS[name])
    made = parts_of(config, ["attack", "dataset", "epsilon"])
    found = check_attack(made["attack"], made["dataset"], grid=made["epsilon"], n_training=N_TRAINING)
    assert failed(found) == [], table(found)
    assert sum(one.result == "ok" for one in found) >= len(found) - 1


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "goal"), [("l0", "any"), ("l2", "next"), ("linf", "next"), ("l1", "least_likely")])
def test_evasion_of_ten_classes_passes(norm: str, goal: str) -> None:
    made = parts_of(
        composed("dataset=digits", f"attack.norm={norm}", f"attack.goal={goal}"), ["attack", "dataset", "epsilon"]
    )
    found = check_attack(made["attack"], made["dataset"], grid=made["epsilon"], n_training=N_TRAINING)
    assert failed(found) == [], table(found)


@pytest.mark.parametrize("name", SMALL_DATA)
def test_a_shipped_data_set_passes(name: str) -> None:
    config = composed(f"dataset={name}")
    found = check_dataset(lambda: read_dataset(config))
    assert failed(found) == [], table(found)


# The command


@pytest.fixture
def check(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    def run(*words: str) -> Ended:
        capsys.readouterr()
        try:
            rc = main(words)
        except SystemExit as leaving:
            rc = leaving.code if isinstance(leaving.code, int) else 1
        return Ended(rc, *capsys.readouterr())

    yield run
    import logging

    logging.getLogger().handlers.clear()  # Hydra's own, on streams that end with the test
    logging.getLogger("transfer_exp").setLevel(logging.NOTSET)


def own_folder(folder: Path) -> str:
    (folder / "target").mkdir(parents=True)
    for name, kind in (("mine", "NearestMean"), ("broken", "SeedsTorch")):
        (folder / "target" / f"{name}.yaml").write_text(f"_target_: faulty_parts.{kind}\nname: {name}\n")
    return f"--config-dir={folder}"


def test_the_command_checks_what_is_named_of_the_users_own_folder(check: Callable[..., Ended], tmp_path: Path) -> None:
    own = own_folder(tmp_path / "own")
    good = check(own, "target=mine", "+target.shrink=0.5", "--points=40")
    assert good.rc == 0, good
    assert good.stdout.splitlines()[0] == "target mine"
    assert "trained on 40 points" in good.stdout
    assert "FAILED" not in good.stdout
    assert "surrogate" not in good.stdout
    bad = check(own, "target=broken", "--points=40")
    assert bad.rc == 1
    (line,) = (line for line in bad.stdout.splitlines() if "FAILED" in line)
    assert line.split()[:2] == ["generators", "FAILED"]
    assert "torch's generator" in line


@pytest.mark.slow
def test_without_a_name_all_parts_are_checked(check: Callable[..., Ended]) -> None:
    ended = check()
    assert ended.rc == 0, ended
    heads = [line for line in ended.stdout.splitlines() if line and line[0] not in " 0123456789"]
    assert heads == ["dataset digits89", "surrogate svm_low", "target mlp_high", "attack evasion", "measures"]


def test_bad_input_is_one_line(check: Callable[..., Ended]) -> None:
    for words, message in {
        ("--points=few",): "error: --points: expected a whole number >= 2, got few",
        ("-m", "seed=0,1"): "error: expected one configuration, got a sweep (-m); type a command for each",
        ("target=ridge_low", "target.alpha=-1"): "error: ridge_low.alpha: expected a number above 0, got -1",
        ("target=svm_low", "target.C=many"): "error: target.C: expected a number, got 'many'",
        ("attack=evasion_add",): "error: digits89: expected only the values 0 and 1",
        ("device=tpu", "target=svm_low"): "error: device: expected cpu, cuda or auto, got tpu",
    }.items():
        ended = check(*words)
        assert ended.rc == 2, (words, ended)
        assert ended.stderr.startswith(message), (words, ended)
        assert len(ended.stderr.strip().splitlines()) == 1


def test_help_says_how(check: Callable[..., Ended]) -> None:
    ended = check("--help")
    assert ended.rc == 0
    assert ended.stdout.startswith("usage: python -m transfer_exp.check")


def test_nothing_is_left_in_the_results(check: Callable[..., Ended], root: Path) -> None:
    before = sorted(root.rglob("*"))
    assert check("dataset=digits89").rc == 0
    assert sorted(root.rglob("*")) == before
