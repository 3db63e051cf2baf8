"""Claims in which learners are the units, or have to be there: what chance gives a learner it has in all repetitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import planted_claims as planted
import pytest
import scipy.stats
import test_claims_evasion as evasion

from transfer_exp import stats
from transfer_exp.report.claims import CLAIMS, Verdict, demontis2019_attacks, exchanging, tests
from transfer_exp.report.claims.exchanging import Axes
from transfer_exp.report.study import Study
from transfer_exp.types import Floats, Ints


def on(claim: str, study: Study) -> list[Verdict]:
    return next(one for one in CLAIMS if one.id == claim).verdicts(study, evasion.EMPTY)


def test_a_rise_and_fall_without_the_plain_network_is_no_verdict() -> None:
    study = planted.study({"surrogate.adversarial_radius": (0.05, 0.1, 0.25, 1)}, hump_without_plain, 1)
    own = on("LR1", study)
    lacks = "the network without adversarial training (radius 0) is not among its radii"
    assert [(v.verdict, v.reason) for v in own] == [("not tested", lacks)]


def hump_without_plain(rows: pd.DataFrame, sign: int) -> None:
    rows["rate"] += evasion.SMALL * sign * (rows["surrogate.adversarial_radius"] == 0.25)


@pytest.mark.parametrize(("sign", "beyond"), [(1, 0.05), (-1, -0.15)])
def test_what_two_options_gain_beyond_their_sum_is_told(sign: int, beyond: float) -> None:
    """Each alone gains 0.05; both 0.05 + 0.1, or 0.05 - 0.1."""
    (own,) = evasion.verdicts("LR4", sign)
    told = own.reason.partition("beyond the sum of both alone: ")[2]
    assert float(told.split()[0]) == pytest.approx(beyond, abs=0.02)
    assert float(told.rpartition("p ")[2]) < 0.01


def test_without_the_plain_network_there_is_no_interaction() -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        evasion.both_options(rows, sign)
        neither = (rows["surrogate.gradient_penalty"] == 0) & (rows["surrogate.sam_radius"] == 0)
        rows.loc[neither, "surrogate.sam_radius"] = np.nan

    settings = {"surrogate.gradient_penalty": (0, 0.1, 0.2), "surrogate.sam_radius": (0, 0.1)}
    own = on("LR4", planted.study(settings, plant, 1))
    assert {v.verdict for v in own} == {"holds"}
    assert all("no interaction" in v.reason for v in own)


def test_four_surrogates_are_too_few_to_exchange() -> None:
    study = planted.study({}, evasion.together, 1, surrogates=evasion.MANY[:4], targets=("svm_low", "mlp_low", "cnn_a"))
    own = on("LR2", study)
    assert len(own) == 4
    assert {v.reason for v in own} == {"4 surrogates; the test exchanges at least 5"}


def test_what_four_targets_have_is_not_tested() -> None:
    targets = ("svm_low", "mlp_low", "cnn_a", "cnn_b")
    study = planted.study({}, evasion.together, 1, surrogates=evasion.MANY, targets=targets)
    own = {v.learner: v for v in on("LR2", study)}
    assert own["over S"].reason == "4 targets, of which it is a measure; the test exchanges at least 5"
    assert own["over V"].verdict != "not tested"


AXES = [[f"surrogate {i}" for i in range(8)], list("vwxyz")]
WIDE = [[f"surrogate {i}" for i in range(5)], list("stuvwxyz")]
SQUARE = [list("abcdefgh"), list("abcdefgh")]  # the same learners on both sides


def tables(
    rng: np.random.Generator, *, equal: bool, axes: Axes = AXES, of_targets: bool = False, seeds: int = 6
) -> tuple[Floats, Floats, Floats, Floats]:
    """Curvature of surrogates, V of surrogates or S of targets, R of pairs, and the outcome: the same learners in all
    repetitions, and little noise.

    equal: V (or S) and R go with the outcome alike; else nothing goes with it.
    """
    n, m = map(len, axes)

    def of_surrogates() -> Floats:
        return np.repeat(rng.normal(size=n), m)

    curvature, alignment = of_surrogates(), rng.normal(size=n * m)
    single = np.tile(rng.normal(size=m), n) if of_targets else of_surrogates()
    chance = of_surrogates() + np.tile(rng.normal(size=m), n) + 0.5 * rng.normal(size=n * m)
    outcome = 0.3 * chance + alignment + single if equal else chance
    noise = 0.1 * rng.normal(size=(4, seeds, n * m))
    return (curvature + noise[0], single + noise[1], alignment + noise[2], outcome + noise[3])


def of_gain(rng: np.random.Generator, *, equal: bool, of_targets: bool = False) -> float:
    """LR2, over V."""
    curvature, single, alignment, outcome = tables(rng, equal=equal, of_targets=of_targets)

    def gain(cells: Ints, of: Ints) -> float:
        own = tests.out_of_sample([curvature[:, cells], alignment[:, cells]], outcome[:, of])
        return float((own - tests.out_of_sample([single[:, cells]], outcome[:, of])).mean())

    return exchanging.gained(gain, AXES, n=6, n_orders=79).p_value


def of_gain_of_targets(rng: np.random.Generator, *, equal: bool) -> float:
    """LR2, over S, which five targets have."""
    return of_gain(rng, equal=equal, of_targets=True)


def of_gap(rng: np.random.Generator, *, equal: bool, axes: Axes = AXES) -> float:
    """5b: R and V go with the ratio alike, each with half of it."""
    _, variability, alignment, outcome = (values.mean(axis=0) for values in tables(rng, equal=equal, axes=axes))

    def gap(cells: Ints, of: Ints) -> float:
        return demontis2019_attacks.gap(alignment[cells], variability[cells], outcome[of])

    return exchanging.gained(gap, axes, n=6, n_orders=79).p_value


def of_wide_gap(rng: np.random.Generator, *, equal: bool) -> float:
    """5b, with more targets than surrogates."""
    return of_gap(rng, equal=equal, axes=WIDE)


def of_square_gap(rng: np.random.Generator, *, equal: bool) -> float:
    """5b, where all surrogates are targets."""
    return of_gap(rng, equal=equal, axes=SQUARE)


def share(one: Callable[..., float], draws: int, *, equal: bool) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([one(rng, equal=equal) < stats.ALPHA for _ in range(draws)]))


# Where both go with the outcome alike, it is hardest to say no; where nothing does, the chance of few learners says it.
@pytest.mark.slow
@pytest.mark.parametrize("one", [of_gain, of_gain_of_targets, of_gap, of_wide_gap, of_square_gap])
def test_false_positives_of_gains_are_between_2_and_7_percent(one: Callable[..., float]) -> None:
    assert 0.02 < share(one, 1000, equal=True) < 0.07
    assert share(one, 500, equal=False) < 0.07


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gain_that_is_curved_is_judged_with_its_bias_and_without(sign: int) -> None:
    """The square of a mean over n learners lies above that of the true mean by the variance over n, which is known."""
    own = np.random.default_rng(1).normal(1, 1, size=8)
    axes = [[f"surrogate {i}" for i in range(8)], ["one target"]]
    found = exchanging.gained(lambda of, _: float(sign * own[of].mean() ** 2), axes, n=5)
    assert found.effect == pytest.approx(sign * own.mean() ** 2)
    without = found.effect - sign * own.var(ddof=1) / 8
    assert (found.low + found.high) / 2 == pytest.approx((found.effect + without) / 2)
    left_out = np.array([sign * np.delete(own, i).mean() ** 2 for i in range(8)])
    error = np.sqrt(7 / 8 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.high - max(found.effect, without) == pytest.approx(scipy.stats.t.ppf(0.975, 7 / 3) * error)


def test_chance_of_learners_is_seldom_a_gain() -> None:
    """In half of such studies signed ranks over repetitions, and an interval over them, say yes."""
    assert share(of_gap, 100, equal=False) < 0.07
    assert share(of_gap, 100, equal=True) < 0.1
    assert share(of_gain, 20, equal=False) < 0.1


def test_a_learner_in_both_roles_is_left_out_of_both() -> None:
    """The jackknife of a mean over all pairs but those of a learner with itself is that of the learners, twice."""
    names = list("abcdefg")
    own = np.random.default_rng(0).normal(size=7)
    cells = (own[:, None] + own[None, :]).ravel()
    found = exchanging.gained(lambda of, _: float(cells[of].mean()), [names, names], n=5)
    error = 2 * own.std(ddof=1) / np.sqrt(7)
    assert (found.high - found.low) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 6 / 3) * error)
    apart = exchanging.gained(lambda of, _: float(cells[of].mean()), [names, list("tuvwxyz")], n=5)
    halves = scipy.stats.t.ppf(0.975, 12 / 3) * error / np.sqrt(2)  # twice as many learners, of half the variance each
    assert (apart.high - apart.low) / 2 == pytest.approx(halves)
