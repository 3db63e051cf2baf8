"""Does damage bend at a share? A bent line against smooth curves: by hand, and how often it says yes where nothing bends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from transfer_exp import stats
from transfer_exp.report.claims import bends

AT = np.array([0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2])
SPREAD = np.linspace(0, 1e-6, 10)[:, None]  # ten repetitions that hardly differ


def test_the_bent_line_nearest_to_one_is_itself() -> None:
    line = np.where(AT < 0.08, AT, 5 * AT - 0.32)
    found = bends.bent(line, AT)
    assert (found.place, found.before, found.beyond) == pytest.approx((0.08, 1, 5))
    assert found.at(AT) == pytest.approx(line)


def test_before_its_place_a_bent_line_rises_at_most_half_as_fast() -> None:
    found = bends.bent(AT.copy(), AT)
    assert found.before == pytest.approx(found.beyond / 2)
    assert bends.bent(np.minimum(AT, 0.1), AT).before <= bends.bent(np.minimum(AT, 0.1), AT).beyond / 2


def test_two_shares_at_least_lie_on_either_side() -> None:
    for place in AT:
        assert AT[1] <= bends.bent((AT - place).clip(min=0), AT).place <= AT[-3]


@pytest.mark.parametrize(
    "curve", [3 * AT, 0.2 * AT + 4 * AT**2, 25 * AT**3, 0 * AT], ids=["line", "quadratic", "cubic", "none"]
)
def test_smooth_curves_are_fitted_exactly(curve: np.ndarray) -> None:
    assert bends.smooth(curve, AT) == pytest.approx(curve, abs=1e-12)


def test_a_bend_is_told_by_how_much_a_smooth_curve_misses_more() -> None:
    line = 2 * (AT - 0.1).clip(min=0)
    found, bend = bends.bend(line + SPREAD, AT)
    assert bend is not None
    assert bend.place == pytest.approx(0.1)
    missed = bends.smooth(line, AT) - line
    assert found.effect == pytest.approx(np.sqrt((missed**2).mean()), abs=1e-5)
    assert found.p_value == pytest.approx(1 / 32)  # five repetitions, one-sided
    assert found.n == 10


@pytest.mark.parametrize(
    "curve", [2 * AT, 5 * AT**2, 0.3 * AT + 3 * AT**2, 25 * AT**3, np.sqrt(AT) / 3, np.minimum(AT, 0.1)],
    ids=["straight", "quadratic", "line and square", "cubic", "root", "reversed"],
)  # fmt: skip
def test_what_does_not_bend_is_predicted_better_by_a_smooth_curve(curve: np.ndarray) -> None:
    found, _ = bends.bend(curve + 0.001 * np.random.default_rng(0).normal(size=(10, len(AT))), AT)
    assert found.effect < 0
    assert found.p_value == 1.0


def test_few_shares_are_no_bend() -> None:
    found, bend = bends.bend(np.ones((10, 5)), AT[:5])
    assert bend is None
    assert np.isnan(found.p_value)


Curve = Callable[[np.ndarray], np.ndarray]
# A straight line and a quadratic are predicted better by the smooth curve wherever noise leaves a difference to see, so that
# the test is conservative; with nothing but noise both curves are alike, and it comes to the 3.1% of five repetitions.
FALSE: dict[str, tuple[Curve, float, float, float]] = {
    "no damage": (lambda at: 0 * at, 0.01, 0.02, 0.07),
    "straight": (lambda at: at, 0.01, 0.0, 0.05),
    "straight, much noise": (lambda at: at, 0.05, 0.0, 0.07),
    "quadratic": (lambda at: 5 * at**2, 0.01, 0.0, 0.05),
    "quadratic, much noise": (lambda at: 5 * at**2, 0.05, 0.0, 0.07),
    "cubic": (lambda at: 25 * at**3, 0.01, 0.0, 0.05),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FALSE)
def test_false_positives_are_at_most_7_percent(name: str) -> None:
    curve, noise, least, most = FALSE[name]
    rng = np.random.default_rng(0)
    scales = 1 + 0.2 * rng.normal(size=(500, 10, 1))  # repetitions in which all damage is larger
    tables = curve(AT) * scales + noise * rng.normal(size=(500, 10, len(AT)))
    share = np.mean([bends.bend(table, AT)[0].p_value < stats.ALPHA for table in tables])
    assert least <= share < most, share
