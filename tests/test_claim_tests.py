"""The tests that claims rest on: by hand, by enumeration, and how often each says yes where there is nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from transfer_exp import correlation, stats
from transfer_exp.report.claims import power, tests

RISING = np.arange(5.0) + np.linspace(0, 0.1, 10)[:, None]  # ten repetitions, five levels
HUMP = np.array([0.0, 1.0, 3.0, 1.0, 0.5]) + np.linspace(0, 0.1, 10)[:, None]


def by_enumeration(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed ranks: the share of all signs of the ranks whose sum is as far from 0."""
    ranks = scipy.stats.rankdata(np.abs(differences))
    own = abs((ranks * np.sign(differences)).sum())
    sums = [abs(np.dot(ranks, signs)) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    return float(np.mean([one >= own for one in sums]))


@pytest.mark.parametrize(
    "values", [[1, 2, 3, 4, 5, 6], [1, -2, 3, 4, 5, 6.5], [1, 1, 1, -1, 2, 2, -2], [-3, -1, -2, -4, -5, -6]]
)
def test_signed_ranks_is_the_share_of_all_signs(values: list[float]) -> None:
    assert tests.signed_ranks(np.array(values, dtype=float)) == pytest.approx(by_enumeration(np.array(values)))


def test_what_differs_by_rounding_is_a_tie() -> None:
    third = (0.1 + 0.2 + 0.3) / 3 - (0.3 + 0.2 + 0.1) / 3
    assert third != 0
    assert stats.sign_test(np.array([0.2 + third, 0.3]), np.array([0.2, 0.1])).n == 1
    values = np.array([1.0, 1.0 + third, -1.0, 2.0, 2.0, 3.0, third])
    assert tests.signed_ranks(values) == tests.signed_ranks(np.array([1.0, 1.0, -1.0, 2.0, 2.0, 3.0]))
    level = np.array([[0.2, 0.2 + third, 0.3]] * 8)
    assert tests.trend(level).p_value == tests.trend(level.round(9)).p_value


def test_six_repetitions_are_the_fewest_for_signed_ranks() -> None:
    smallest = {n: tests.signed_ranks(np.arange(1.0, n + 1)) for n in (5, tests.FEWEST_PAIRED)}
    assert smallest[5] == pytest.approx(2 / 32)
    assert smallest[6] == pytest.approx(2 / 64)


@pytest.mark.parametrize(("sign", "low", "high"), [(1, 0.0, 0.01), (-1, 0.0, 0.01), (0, 0.05, 1.0)])
def test_paired_and_trend_see_an_effect_its_reverse_and_none(sign: int, low: float, high: float) -> None:
    noise = np.random.default_rng(1).normal(size=(10, 5))
    for found in (tests.paired(3 * sign + noise[:, 0]), tests.trend(3 * sign * np.arange(5) + noise)):
        assert low <= found.p_value <= high
        assert sign == 0 or np.sign(found.effect) == sign


def test_trend_is_pages_l_with_the_mean_tau() -> None:
    found = tests.trend(RISING)
    assert found.effect == pytest.approx(1.0)
    assert found.n == 10
    assert found.p_value == pytest.approx(2 * scipy.stats.page_trend_test(RISING).pvalue)


def test_interior_maximum_takes_both_ends() -> None:
    found, place = tests.interior(HUMP)
    assert place == 2
    assert found.effect == pytest.approx(2.5)  # above the higher end
    assert found.p_value == pytest.approx(1 / 32)  # five repetitions, one-sided
    assert tests.interior(-HUMP)[0].effect < 0
    assert tests.interior(RISING)[0].p_value == 1.0


def test_the_half_that_chooses_a_level_does_not_test_it() -> None:
    table = np.zeros((10, 3))
    table[::2, 1] = 5.0
    assert tests.interior(table + np.random.default_rng(0).normal(scale=0.01, size=table.shape))[0].p_value > 0.05


def test_equivalence_is_two_one_sided_t_tests() -> None:
    values = np.array([0.01, -0.02, 0.03, 0.0, 0.02, -0.01])
    t = (0.05 - values.mean()) / (values.std(ddof=1) / math.sqrt(6))
    assert tests.equivalent(values, 0.05).p_value == pytest.approx(scipy.stats.t.sf(t, 5))
    assert tests.equivalent(values + 0.06, 0.05).p_value > 0.5


def test_both_needs_each() -> None:
    large, noise = 3 + np.linspace(0, 1, 10), np.random.default_rng(2).normal(size=10)
    assert tests.both(large, large).p_value == pytest.approx(2 / 2**10)
    assert tests.both(large, noise).p_value == tests.paired(noise).p_value
    assert tests.both(large, -large).effect < 0


def test_others_choose_the_level_of_a_repetition() -> None:
    table = np.array([[0.0, 9.0], [1.0, 0.0], [1.0, 0.0]])
    assert tests.chosen_by_others(table).tolist() == [0.0, 0.0, 0.0]  # 1 by the first two, else 1 for its 9; never its own


def predicted(seeds: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two predictors of 8 surrogates x 3 targets: one of surrogates, one of pairs; the same in all repetitions."""
    own = np.repeat(rng.permutation(8), 3).astype(float)
    return np.tile(own, (seeds, 1)), np.tile(rng.normal(size=24), (seeds, 1))


def test_a_predictor_that_adds_is_told_from_one_that_does_not() -> None:
    rng = np.random.default_rng(3)
    own, other = predicted(8, rng)
    orders = correlation.exchange(list("abcdefgh"), list("xyz"), rows_only=True, rng=rng, n_orders=99).orders
    noise = 0.1 * rng.normal(size=own.shape)
    assert tests.adds(own, other, own + 2 * other + noise, orders).p_value <= 0.02
    assert tests.adds(own, other, other + noise, orders).p_value > 0.05
    # Out of sample, perfect prediction is 1 and the reverse of what others show is -1.
    assert tests.out_of_sample([own], own).tolist() == pytest.approx([1.0] * 8)
    turned = np.vstack([own[:1] * -1, own[1:]])
    assert tests.out_of_sample([own], turned)[0] == pytest.approx(-1.0)


def test_smallest_detectable_effects_against_theory() -> None:
    n = 10
    # A sign test over 10 takes 9 wins: the win share at which P(X >= 9) = 0.8.
    assert scipy.stats.binom.sf(8, n, power.wins(n)) == pytest.approx(0.8, abs=1e-3)
    # The t-test, a little stronger than signed ranks, has 80% power at 1.0 standard deviations with 10 pairs.
    t = scipy.stats.nct.sf(scipy.stats.t.ppf(0.975, 9), 9, power.shift(n) * math.sqrt(n))
    assert 0.77 < t < 0.9
    # Signed ranks over 5, one-sided, take five gains: the mean at which each is one with a chance of 0.8^(1/5).
    assert power.shift(5, sides=1) == pytest.approx(scipy.stats.norm.ppf(0.8**0.2), abs=0.05)
    # Two one-sided t-tests are one, far from the other margin.
    t = scipy.stats.nct.sf(scipy.stats.t.ppf(0.95, n - 1), n - 1, power.margin(n) * math.sqrt(n))
    assert t == pytest.approx(0.8, abs=0.025)
    # Each test tells that of its own.
    halves = np.random.default_rng(3).normal(size=10)
    assert tests.above(halves[:5], n=10).detectable == pytest.approx(power.shift(5, sides=1) * halves[:5].std(ddof=1))
    assert tests.equivalent(halves, 1.0).detectable == pytest.approx(power.margin(n) * halves.std(ddof=1))
    assert 0 < power.trend(20, 5) < power.trend(10, 5) < 1


def share(one: Callable[[np.random.Generator], float], draws: int) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([one(rng) < stats.ALPHA for _ in range(draws)]))


def plateau(n: int) -> Callable[[np.random.Generator], float]:
    """Where an inner maximum is hardest to rule out: a rise, then six levels that are alike."""
    return lambda rng: tests.interior(rng.normal(size=(n, 7)) + np.array([-9.0, *[0.0] * 6]))[0].p_value


# Discrete tests stay below 5%: of 10 repetitions, signed ranks at 4.9%, half of them one-sided at 3.1%, sign tests at 2.1%.
FALSE: dict[str, tuple[Callable[[np.random.Generator], float], int]] = {
    "sign test, 10": (lambda rng: stats.sign_test(rng.normal(size=10), np.zeros(10)).p_value, 4000),
    "signed ranks, 6": (lambda rng: tests.paired(rng.normal(size=6)).p_value, 4000),
    "signed ranks, 10": (lambda rng: tests.paired(rng.normal(size=10)).p_value, 4000),
    "signed ranks, skewed": (lambda rng: tests.paired(rng.exponential(size=10) - rng.exponential(size=10)).p_value, 4000),
    "both, one is there": (lambda rng: tests.both(9 + rng.normal(size=10), rng.normal(size=10)).p_value, 4000),
    "trend, 10 of 5": (lambda rng: tests.trend(rng.normal(size=(10, 5))).p_value, 1000),
    "interior, 10": (plateau(10), 4000),
    "interior, 16": (plateau(16), 4000),
    "equivalent, at the margin": (lambda rng: tests.equivalent(1 + rng.normal(scale=0.3, size=10), 1.0).p_value, 4000),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FALSE)
def test_false_positives_are_between_2_and_7_percent(name: str) -> None:
    one, draws = FALSE[name]
    assert 0.02 < share(one, draws) < 0.07, share(one, draws)


@pytest.mark.slow
@pytest.mark.parametrize("constant", [True, False], ids=["a chance of learners", "a chance of repetitions"])
def test_false_positives_of_what_adds_nothing(constant: bool) -> None:
    def one(rng: np.random.Generator) -> float:
        own, other = predicted(6, rng)
        idiosyncrasy = np.tile(np.repeat(rng.normal(size=8), 3), (6, 1)) if constant else 0.0
        outcome = 2 * other + idiosyncrasy + 0.3 * rng.normal(size=own.shape)
        orders = correlation.exchange(list("abcdefgh"), list("xyz"), rows_only=True, rng=rng, n_orders=59).orders
        return tests.adds(own, other, outcome, orders).p_value

    # Of 59 exchanges, p < 0.05 are 1 / 60 and 2 / 60: 3.3%.
    assert 0.02 < share(one, 1000) < 0.07
