"""TA1, TA2, TA3: attacks are compared under one objective, and at sizes that both have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import planted_claims as planted
import pytest

from transfer_exp.report.claims import CLAIMS, Numbers, Verdict
from transfer_exp.report.study import Study

EMPTY = Numbers(sign_tests=pd.DataFrame(), correlations=pd.DataFrame(), data_shares=pd.DataFrame())
ATTACKS = {"attack": ("pgd", "mifgsm")}


def verdicts(claim: str, study: Study) -> list[Verdict]:
    return next(one for one in CLAIMS if one.id == claim).verdicts(study, EMPTY)


def of_sizes(size: float, *, seeds: int = 12) -> list[Verdict]:
    """TA3 where all that momentum has is its size, times that of the plain attack; transfer goes with size."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        own = rows["attack"] == "mifgsm"
        rows["rate"] = (0.3 + 0.01 * rows["noise"]) * np.where(own, size, 1.0)
        rows.loc[own, "perturbation_l2"] *= size

    return verdicts("TA3", planted.study(ATTACKS, plant, 1, seeds=seeds))


@pytest.mark.parametrize("claim", ["TA1", "TA3"])
def test_attacks_are_paired_with_the_plain_one_of_their_objective(claim: str) -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        own, logit = rows["attack"] == "mifgsm", rows["attack.objective"] == "logit"
        rows["rate"] += 0.1 * own + 0.2 * logit
        rows["surrogate_error"] += 0.01 * rows["noise"] - 0.1 * own

    settings = {**ATTACKS, "attack.objective": ("cross_entropy", "logit")}
    found = verdicts(claim, planted.study(settings, plant, 1))
    labels = [(one.learner, one.statistic_name) for one in found]
    assert len(labels) == len(set(labels)) == (4 if claim == "TA1" else 2)
    for one in found:
        objective = "logit" if "logit" in one.learner else "cross_entropy"
        assert f"mifgsm, attack.objective {objective}" in one.learner
        if "transfer" in one.learner:
            assert one.statistic == pytest.approx(0.1, abs=0.01)  # of either objective, not 0.3 or -0.1
            assert one.statistic_name.endswith("above pgd")


def test_differences_are_those_at_sizes_that_meet() -> None:
    (found,) = of_sizes(0.8)
    assert found.verdict == "holds"
    assert found.reason == "gain -0.057 at equal epsilon, +0.004 at equal l2 size"  # 0.2 of 0.3 and nothing, but for noise
    assert "do not meet" not in found.reason


def test_sizes_that_never_meet_are_no_verdict() -> None:
    (found,) = of_sizes(0.3)  # at the largest epsilon, twice the reference, it has 0.6 of the plain one's size
    assert found.verdict == "not tested"
    assert found.reason == "in 24 runs the sizes do not meet on the grid of epsilon; add larger epsilons"


def test_runs_whose_sizes_do_not_meet_are_left_out_on_both_sides() -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        own, small = rows["attack"] == "mifgsm", rows["target"] == "mlp_low"
        rows["rate"] = (0.3 + 0.01 * rows["noise"] + 0.3 * small) * np.where(own, 0.8, 1.0)
        rows.loc[own, "perturbation_l2"] *= np.where(small, 0.3, 0.8)[own]

    (found,) = verdicts("TA3", planted.study(ATTACKS, plant, 1))
    assert "gain -0.06" in found.reason  # of svm_low alone: 0.24 of 0.3
    assert "in 12 runs the sizes do not meet on the grid of epsilon" in found.reason


def test_sizes_of_a_stopped_solver_stand_beside_its_transfer() -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        rows["rate"] += 0.1 * rows["attack.stop_at"]
        rows["perturbation_l2"] = 2.0 * rows["attack.stop_at"]

    (found,) = verdicts("TA2", planted.study({"attack.stop_at": (0.25, 0.5, 1)}, plant, 1))
    assert found.verdict == "fails"
    assert found.reason.endswith("; l2 sizes 0.50, 1.00, 2.00")
