"""Verdicts on studies like the shipped ones, against what pandas and scipy alone make of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import pytest
import recomputed_claims as recomputed
import test_claims_ensembles as of_members
import test_claims_evasion as evasion
from recomputed_claims import Number

from transfer_exp.report import tables
from transfer_exp.report.claims import CLAIMS, Numbers
from transfer_exp.report.study import Study

EMPTY = Numbers(sign_tests=pd.DataFrame(), correlations=pd.DataFrame(), data_shares=pd.DataFrame())
OF = {
    "LR1": recomputed.training_radius,
    "ES1": recomputed.early_stopping,
    "BN1": recomputed.batch_norm,
    "LR2": recomputed.explained,
    "EN1": recomputed.ensembles,
}


def made(claim: str) -> Study:
    return of_members.shipped({"cnn": 0.1, "mlp": 0.02, "mixed": 0.08}) if claim == "EN1" else evasion.made(claim, 1)


@pytest.mark.parametrize("claim", [pytest.param(c, marks=() if c in ("LR1", "ES1") else pytest.mark.slow) for c in OF])
def test_numbers_are_those_of_pandas_and_scipy_alone(claim: str) -> None:
    of: Callable[[pd.DataFrame, pd.DataFrame], Iterator[Number]] = OF[claim]
    study = made(claim)
    rows = tables.at_reference(study)
    own = next(one for one in CLAIMS if one.id == claim)
    told = {(v.learner, v.statistic_name): v for v in own.verdicts(study, EMPTY)}
    curves = rows[["seed", "surrogate", "target", "transfer_rate"]]
    found = {(one.part, one.name): one for one in of(rows.drop(columns="transfer_rate"), curves)}
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
