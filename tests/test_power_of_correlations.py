"""The smallest correlation that a table of surrogates and targets shows: against the test itself, and against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from transfer_exp import correlation, stats
from transfer_exp.report.claims import power
from transfer_exp.types import Floats

SIX, THREE = [f"surrogate {i}" for i in range(6)], ["x", "y", "z"]


def table(rng: np.random.Generator) -> Floats:
    """Each surrogate, target and pair has something of its own."""
    return np.repeat(rng.normal(size=6), 3) + np.tile(rng.normal(size=3), 6) + 0.5 * rng.normal(size=18)


def exchanges(*axes: list[str], n_orders: int = 199) -> correlation.Exchanges:
    return correlation.exchange(*axes, rng=np.random.default_rng(1), n_orders=n_orders)


def shown(kind: correlation.Kind, near: float, draws: int = 150) -> tuple[float, float]:
    """How often other tables of 6 x 3 show a correlation whose mean is about ``near``, and that mean."""
    rng, orders = np.random.default_rng(2), exchanges(SIX, THREE)
    pairs = [(table(rng), table(rng)) for _ in range(draws)]

    def made(true: float) -> list[tuple[Floats, Floats]]:
        return [(x, true * x / x.std() + math.sqrt(1 - true**2) * y / y.std()) for x, y in pairs]

    def mean(true: float) -> float:
        return float(np.mean([correlation.coefficient(x, y, kind) for x, y in made(true)]))

    true = min(np.linspace(0.05, 0.95, 19), key=lambda one: abs(mean(one) - near))
    p_values = [correlation.correlate(x, y, kind=kind, exchanges=orders).p_value for x, y in made(true)]
    return float(np.mean(np.array(p_values) < stats.ALPHA)), mean(true)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pearson", "kendall"])
def test_it_is_that_of_the_test_on_tables_like_it(kind: correlation.Kind) -> None:
    """Four of five tables that correlate as much, on average, are significant by the test that the claims rest on."""
    rng = np.random.default_rng(0)
    told = [power.correlated(table(rng), table(rng), exchanges(SIX, THREE), kind) for _ in range(20)]
    assert not np.isnan(told).any()
    found, mean = shown(kind, float(np.mean(told)))
    assert mean == pytest.approx(np.mean(told), abs=0.05)
    assert 0.65 < found < 0.92


def test_independent_points_have_fishers_power() -> None:
    x, y = np.random.default_rng(3).normal(size=(2, 20))
    told = power.correlated(x, y, exchanges([str(i) for i in range(20)], n_orders=999), "pearson")
    assert told == pytest.approx(math.tanh((1.96 + 0.84) / math.sqrt(20 - 3)), abs=0.05)


def test_cells_of_one_learner_are_not_points_of_their_own() -> None:
    """Three targets that repeat what the surrogates have: as few surrogates show no smaller correlation."""
    x, y = np.random.default_rng(4).normal(size=(2, 6))
    alone = power.correlated(x, y, exchanges(SIX), "kendall")
    again = power.correlated(np.repeat(x, 3), np.repeat(y, 3), exchanges(SIX, THREE), "kendall")
    assert again == pytest.approx(alone, abs=0.08)


def test_too_few_learners_and_missing_cells_have_none() -> None:
    x, y = np.random.default_rng(5).normal(size=(2, 12))
    assert math.isnan(power.correlated(x, y, exchanges(SIX[:4], THREE), "pearson")) == (not exchanges(SIX[:4], THREE).enough)
    assert math.isnan(power.correlated(x[:4], y[:4], exchanges(SIX[:4]), "pearson"))
    gap = np.where(np.arange(18) == 3, np.nan, np.arange(18.0))
    assert math.isnan(power.correlated(gap, np.arange(18.0), exchanges(SIX, THREE), "kendall"))
    assert "so few learners" in power.undetectable(math.nan)
    assert power.undetectable(0.5) == ""
