"""Verdicts on planted studies, against what pandas and scipy alone make of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import recomputed_attacks as attacks
import recomputed_claims as recomputed
import recomputed_evasion as of_evasion
import recomputed_networks as networks
import recomputed_poisoning as of_poisoning
import recomputed_threshold as threshold
import test_claims_ensembles as of_members
import test_claims_evasion as evasion
import test_claims_poisoning as poisoning
from recomputed_statistics import Of

from transfer_exp.report.build import write_rows
from transfer_exp.report.claims import CLAIMS, Numbers
from transfer_exp.report.study import Study

EMPTY = Numbers(sign_tests=pd.DataFrame(), correlations=pd.DataFrame(), data_shares=pd.DataFrame())
OF: dict[str, Sequence[Of]] = {
    "BN1": [networks.batch_norm],
    "BP1": [of_poisoning.heuristics],
    "CH1": [of_evasion.most_central],
    "EN1": [networks.ensembles],
    "ES1": [networks.early_stopping],
    "ES2": [networks.sharpness_aware],
    "HP1": [of_poisoning.tuned],
    "LR1": [networks.training_radius],
    "LR2": [networks.explained],
    "LR3": [networks.regularised],
    "LR4": [networks.regularised],
    "MA1": [networks.simpler],
    "NN1": [of_poisoning.kinds],
    "PG1": [of_evasion.gaps],
    "RB1": [networks.robust],
    "SM1": [of_evasion.pairs],
    "SN1": [of_poisoning.sanitised],
    "SP1": [of_poisoning.classes],
    "TA1": [attacks.attacks],
    "TA2": [attacks.optimum],
    "TA3": [attacks.equal_sizes],
    "TG1": [attacks.targeted],
    "TH1": [threshold.thresholds],
}
SLOW = {"EN1", "LR2", "TG1"}


def made(claim: str) -> Study:
    if claim == "EN1":
        return of_members.shipped({"cnn": 0.1, "mlp": 0.02, "mixed": 0.08})
    return (poisoning if claim in poisoning.TABLE else evasion).made(claim, 1)


@pytest.mark.parametrize("claim", [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW else []) for one in OF])
def test_numbers_are_those_of_pandas_and_scipy_alone(claim: str, tmp_path: Path) -> None:
    study = made(claim)
    write_rows(tmp_path, study)
    runs, curves = recomputed.frames(tmp_path)
    made_here = [one for of in OF[claim] for one in recomputed.made(of, runs, curves) if one.claim == claim]
    found = {(one.part, one.name): one for one in made_here}
    own = next(one for one in CLAIMS if one.id == claim)
    told = {(v.learner, v.statistic_name): v for v in own.verdicts(study, EMPTY)}
    assert len(found) == len(made_here)
    assert set(found) == set(told)
    for key, one in found.items():
        assert told[key].statistic == pytest.approx(one.effect, abs=1e-9)
        if one.p_value is not None:
            assert told[key].p_value == pytest.approx(one.p_value, rel=1e-6)
        if one.ends is not None:
            assert (told[key].low, told[key].high) == pytest.approx(one.ends, abs=1e-9)


@pytest.mark.parametrize("claim", ["BN1", "LR3", "TA1"])
def test_the_effect_in_error_has_the_sign_of_that_in_transfer(claim: str) -> None:
    """Planted errors are 0.98 times the rates."""
    found = {v.statistic: v.reason.partition("in error: ")[2] for v in evasion.verdicts(claim, 1)}
    told = {effect: float(text) for effect, text in found.items() if text}
    assert told
    assert list(told.values()) == pytest.approx([0.98 * effect for effect in told], abs=0.001)
