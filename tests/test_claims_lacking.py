"""Every claim has a study in ``make claims`` or a reason; the commands named for a claim that is not tested do test it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from composed_study import claims_tested, study_of, words_of
from conftest import SOURCE

from transfer_exp.report.claims import CLAIMS, Numbers, wanting
from transfer_exp.report.study import Study

_BASE = "python -m transfer_exp -m study=mine"
BASES = {  # a user's own study that lacks all: one surrogate, one target, one repetition
    "classification": f"{_BASE} dataset=digits surrogate=ridge_high target=ridge_high",
    "poisoning": f"{_BASE} dataset=digits89 attack=poisoning epsilon=poisoning surrogate=ridge_high target=ridge_high",
    "detection": f"{_BASE} dataset=drebin215 attack=evasion_add epsilon=drebin215 surrogate=svm_low target=mlp_low",
}
IDS = {claim.id: claim for claim in CLAIMS}


def suite() -> Any:
    """The tool behind ``make claims``, which is no module of the package."""
    spec = importlib.util.spec_from_file_location("claims_tool", SOURCE / "tools" / "claims.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    sys.modules["claims_tool"] = tool
    spec.loader.exec_module(tool)
    return tool


TOOL = suite()


def typed(study: Study, command: str) -> Study:
    """The study as a command's sweep records it."""

    parents: Any = (SimpleNamespace(data=SimpleNamespace(tags={"command": command})),)
    return replace(study, parents=parents)


def of_base(scenario: str) -> Study:
    return typed(study_of(words_of(BASES[scenario])), BASES[scenario])


def test_all_studies_together_take_six_hours_and_each_forty_minutes() -> None:
    every = TOOL.studies(quick=False)
    assert sum(study.minutes for study in every) <= 360
    assert max(study.minutes for study in every) <= 40
    assert sum(study.minutes for study in TOOL.studies(quick=True)) <= 10
    for quick in (False, True):
        names = [study.name for study in TOOL.studies(quick=quick)]
        assert len(set(names)) == len(names)
        assert set(TOOL.left_out(quick=quick)) < set(IDS)
    assert set(TOOL.left_out(quick=False)) == {"6"}


_DATASETS = [("mnist", False), ("fashion_mnist", False), ("digits", True)]


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "quick"), _DATASETS)
def test_every_claim_has_a_study_or_a_reason(dataset: str, quick: bool) -> None:
    found: set[str] = set()
    for one in TOOL.studies(quick=quick):
        if one.name.startswith("fashion") == (dataset == "fashion_mnist"):
            study = study_of(one.words)
            assert study.runs["dataset"].str.startswith(dataset).all(), one.name
            found |= claims_tested(study)
    assert found == set(IDS) - set(TOOL.left_out(quick=quick))


ONLY_IN = [("fashion_poisoning_twins", {"5a", "5b", "5c", "7a"}), ("digits_claims_digits_evasion", {"2b", "PG1"})]


@pytest.mark.parametrize(("name", "claims"), ONLY_IN)
def test_claims_that_no_other_study_of_the_list_can_test(name: str, claims: set[str]) -> None:
    every = [*TOOL.studies(quick=False), *TOOL.studies(quick=True)]
    (study,) = (one for one in every if one.name == name)
    assert claims_tested(study_of(study.words), *claims) == claims


_QUICK = ("7a", "PG1")
ADDED = [
    pytest.param(claim.id, scenario, marks=() if claim.id in _QUICK else pytest.mark.slow)
    for claim in CLAIMS
    for scenario in sorted(claim.scenarios & claim.added_to)
    if claim.adds
]


@pytest.mark.parametrize(("claim", "scenario"), ADDED)
def test_what_a_command_adds_is_what_the_claim_lacks(claim: str, scenario: str) -> None:
    lacking = of_base(scenario)
    found = {one.claim.id: one.command for one in wanting(lacking, [])}[claim]
    assert found == f"{BASES[scenario]} {IDS[claim].adds}"
    assert claims_tested(lacking, claim) == set()
    assert claims_tested(study_of(words_of(found)), claim) == {claim}


FROM_FILES = {
    "mnist": "experiment=poisoning_threshold seed=0 surrogate=svm_low target=svm_low",
    "fashion_mnist": "experiment=poisoning_threshold dataset=fashion_mnist dataset.classes=[7,9] seed=0 surrogate=svm_low "
    "target=svm_low",
    "digits": "experiment=digits89_evasion seed=0 surrogate=svm_low target=svm_low surrogate_fraction=1.0",
}


NAMED = [
    pytest.param(claim, dataset, marks=() if (claim, dataset) == ("TG1", "fashion_mnist") else pytest.mark.slow)
    for claim in IDS
    for dataset in FROM_FILES
]


@pytest.mark.parametrize(("claim", "dataset"), NAMED)
def test_a_study_from_an_experiment_file_names_a_shipped_study_on_its_data(claim: str, dataset: str) -> None:
    """On all of its classes, where it had two of them and the claim is on ten or the shipped study is."""
    own = f"python -m transfer_exp {FROM_FILES[dataset]}"
    found = {one.claim.id: one.command for one in wanting(typed(study_of(words_of(own)), own), [])}
    command = found[claim]
    assert shlex.split(command)[3].startswith("experiment=")
    study = study_of(words_of(command))
    assert claims_tested(study, claim) == {claim}, command
    if claim != "6":
        assert study.runs["dataset"].str.startswith(dataset).all()


def test_three_classes_are_not_added_to_two() -> None:
    two = typed(study_of(words_of(f"{_BASE} dataset=digits89")), f"{_BASE} dataset=digits89")
    found = {one.claim.id: one.command for one in wanting(two, [])}
    assert found["PG1"].startswith("python -m transfer_exp experiment=mnist_evasion measures=gaps_tell 'seed=range(10)'")
    assert "dataset=digits " in found["PG1"]
    assert found["LR1"].startswith(f"{_BASE} dataset=digits89 surrogate=")


def test_a_claim_of_which_no_part_was_tested_is_named_beside_its_reasons() -> None:
    study = study_of(words_of(f"{BASES['classification']} 'seed=range(3)'"))
    numbers = Numbers.of(study)
    few = IDS["2b"].verdicts(study, numbers)
    assert [one.verdict for one in few] == ["not tested"]
    assert "2b" in {one.claim.id for one in wanting(study, few)}
    assert "2b" not in {one.claim.id for one in wanting(study, [replace(few[0], verdict="fails")])}
