"""The checks of parts pass what keeps its promises, and each of them fails on a part that breaks just that one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import faulty_parts
import numpy as np
import pytest
import torch
from faulty_parts import (
    FAULTY_ATTACKS,
    FAULTY_DATASETS,
    FAULTY_LEARNERS,
    FAULTY_MEASURES,
    FAULTY_POISONING,
    NearestMean,
    stripes,
)

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.checks import Finding, check_attack, check_dataset, check_learner, check_measures, table
from transfer_exp.checks.gradients import gradient_error
from transfer_exp.combination import Combination
from transfer_exp.learners import Logistic, Ridge
from transfer_exp.measures.registry import MEASURES
from transfer_exp.types import Box, Grid

GRID = Grid(grid=(0, 0.1, 0.4), reference=0.1, shown=(0.1,))


def by_result(found: Sequence[Finding], result: str) -> set[str]:
    return {one.check for one in found if one.result == result}


def cases(faulty: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(check, one, id=f"{check}-{k}") for check, many in faulty.items() for k, one in enumerate(many)]


def learner_findings(learner: Any) -> list[Finding]:
    return check_learner(learner, stripes(2), n_training=40)


@pytest.mark.parametrize(("check", "faulty"), cases(FAULTY_LEARNERS))
def test_a_faulty_learner_is_caught(check: str, faulty: Any) -> None:
    with np.errstate(all="ignore"):
        found = learner_findings(faulty)
    assert check in by_result(found, "FAILED"), table(found)


def test_a_good_learner_passes_every_check_and_each_check_has_a_fault() -> None:
    found = learner_findings(NearestMean())
    assert by_result(found, "FAILED") == set(), table(found)
    assert by_result(found, "not applicable") == {"decisions", "linear"}
    assert {one.check for one in found} == set(FAULTY_LEARNERS)


@pytest.mark.parametrize("name", ["fits", "state", "restored", "seed", "signature", "linear", "device", "eval mode"])
def test_a_fault_is_told_by_its_own_check_alone(name: str) -> None:
    found = learner_findings(FAULTY_LEARNERS[name][0])
    others = {"state": {"restored"}, "restored": {"store"} & set(), "device": {"state", "restored", "store"}}
    assert by_result(found, "FAILED") - {name} <= others.get(name, set()), table(found)


def attack_findings(attack: Any, n_classes: int = 3) -> list[Finding]:
    return check_attack(attack, stripes(n_classes), grid=GRID, n_training=40)


@pytest.mark.parametrize(("check", "faulty"), cases(FAULTY_ATTACKS))
def test_a_faulty_attack_is_caught(check: str, faulty: Any) -> None:
    with np.errstate(all="ignore"):
        found = attack_findings(faulty, n_classes=3 if check == "goals" else 2)
    assert check in by_result(found, "FAILED"), table(found)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_evasion_passes_in_every_norm(norm: str) -> None:
    grid = Grid(grid=(0, 1, 3), reference=1, shown=(1,)) if norm == "l0" else GRID
    found = check_attack(Evasion(norm=norm, n_walk=0), stripes(), grid=grid, n_training=40)
    assert by_result(found, "ok") == set(FAULTY_ATTACKS), table(found)


def test_an_attack_that_promises_nothing_is_told_of_and_not_failed() -> None:
    descending = FAULTY_ATTACKS["objective"][0]
    object.__setattr__(descending, "promises", frozenset())
    found = {one.check: one for one in attack_findings(descending)}
    assert found["objective"].result == "ok"
    assert "(not promised)" in found["objective"].found
    assert found["batch"].result == "not applicable"


def test_an_attack_is_checked_on_the_surrogate_that_is_given() -> None:
    found = check_attack(Evasion(n_walk=0), stripes(), grid=GRID, surrogate=Ridge(name="mine", alpha=1.0))
    assert found[0].found == "8 points at epsilon 0, 0.1, 0.4 on mine"


@pytest.mark.parametrize(("check", "faulty"), cases(FAULTY_POISONING))
def test_faulty_poisoning_is_caught(check: str, faulty: Any) -> None:
    found = attack_findings(faulty, n_classes=2)
    assert check in by_result(found, "FAILED"), table(found)


def test_poisoning_passes() -> None:
    assert by_result(attack_findings(Poisoning(), n_classes=2), "ok") == set(FAULTY_POISONING)


@pytest.mark.parametrize(("check", "load"), cases(FAULTY_DATASETS))
def test_a_faulty_data_set_is_caught(check: str, load: Any) -> None:
    found = check_dataset(load)
    assert check in by_result(found, "FAILED"), table(found)


def test_a_good_data_set_passes_every_check() -> None:
    pool = np.arange(90) >= 60
    found = check_dataset(lambda: stripes(group=np.arange(90), test_pool=pool))
    assert by_result(found, "ok") == set(FAULTY_DATASETS), table(found)


def combination() -> Combination:
    learner = Logistic(C=1.0)
    attack = Evasion(n_walk=0, n_iter=3)
    return Combination(dataset=stripes(2), surrogate=learner, target=learner, attack=attack, epsilon=GRID)


def test_faulty_measures_are_caught_and_told_apart() -> None:
    found = check_measures(combination(), measures=FAULTY_MEASURES.values())
    assert by_result(found, "FAILED") == {measure.name for measure in FAULTY_MEASURES.values()}, table(found)
    for message, one in zip(FAULTY_MEASURES, found, strict=True):
        assert message in one.found


def test_registered_measures_pass_and_the_registry_is_as_it_was() -> None:
    before = dict(MEASURES)
    found = check_measures(combination())
    assert by_result(found, "FAILED") == set(), table(found)
    assert {"loss", "gradient_size", "perturbation_correlation", "loss_variability"} <= by_result(found, "ok")
    assert before == MEASURES


def test_the_slope_of_a_known_function_is_told_exactly() -> None:
    """A cubic: of a gradient that is a tenth too large the error is a tenth of the slope."""

    class Cubic(faulty_parts.Curved):
        def outputs(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([(x**3).sum(1), x.sum(1)], 1)

    class Wrong(Cubic):
        def outputs(self, x: torch.Tensor) -> torch.Tensor:
            return super().outputs(faulty_parts._Scaled.apply(x))

    x, box = np.random.default_rng(0).random((12, 5)), Box.uniform(5)
    error, allowed = gradient_error(Cubic(weight=np.eye(2)), x, box)
    assert error <= allowed < 1e-7
    error, _ = gradient_error(Wrong(weight=np.eye(2)), x, box)
    assert 0.05 < error < 0.15


def test_a_table_says_what_failed_and_counts() -> None:
    rows = [
        Finding(part="target mine", check="logits", result="ok", found="fine", expected="finite"),
        Finding(part="target mine", check="batch", result="FAILED", found="a difference " * 8, expected="none"),
        Finding(part="attack mine", check="goals", result="not applicable", found="two classes", expected="some"),
    ]
    lines = table(rows).splitlines()
    assert lines[0] == "target mine"
    assert lines[2].split() == ["logits", "ok", "fine", "finite"]
    assert sum("a difference" in line for line in lines) > 1  # wrapped
    assert max(map(len, lines)) < 125
    assert lines[-1] == "1 check ok, 1 failed, 1 not applicable"
