"""Does transfer turn, fall or stay where a claim says that it rises? And how often is a turn seen where there is none?"""

from __future__ import annotations

import numpy as np
import pytest

from transfer_exp.report.claims.base import Claim, Verdict
from transfer_exp.report.claims.judging import not_rising

RISING = np.arange(5.0) + np.linspace(0, 0.1, 10)[:, None]  # ten repetitions, five levels
HUMP = np.array([0.0, 1.0, 3.0, 1.0, 0.5]) + np.linspace(0, 0.1, 10)[:, None]
ANY = Claim(id="x", source="s", statement="", scenarios=frozenset(), fewest=6, judge=lambda *_: iter(()))
NET_RISE = (
    np.array([0.0, 1.0, 3.0, 5.0, 4.0]) + np.linspace(0, 0.1, 10)[:, None]
)  # as transfer along C: up, then a step down


def rising(table: np.ndarray) -> Verdict:
    return not_rising(ANY, "-", table, "it", range(table.shape[1]))


@pytest.mark.parametrize(
    ("table", "answer", "reason"),
    [
        (RISING, "fails", "transfer rises with it; "),
        (-RISING, "holds", "transfer falls with it; "),
        (HUMP, "holds", "transfer turns: largest at 2, mean tau +0.11; "),
        (NET_RISE, "holds", "transfer turns: largest at 3, mean tau +0.80; "),  # though its trend is significant
        (NET_RISE[:9], "not tested", "largest in between, and whether it turns there takes 10 repetitions; "),
        (RISING[:6], "fails", "transfer rises with it; "),
        (-HUMP, "holds", "no trend: the interval lies within ±0.3; "),  # smallest in between is no turn
        (np.random.default_rng(5).normal(size=(10, 4)), "not tested", "neither a trend nor its absence is shown; "),
        (np.random.default_rng(4).normal(size=(80, 4)), "holds", "no trend: the interval lies within ±0.3; "),
    ],
    ids=["rises", "falls", "turns", "rises and turns", "too few", "rises, 6", "dips", "nothing shown", "no trend"],
)  # fmt: skip
def test_not_rising(table: np.ndarray, answer: str, reason: str) -> None:
    found = rising(table)
    assert (found.verdict, found.reason[: len(reason)]) == (answer, reason)


def test_a_turn_is_told_with_its_own_numbers() -> None:
    found = rising(NET_RISE)
    assert found.statistic_name == "transfer above that of both ends"
    assert found.statistic == pytest.approx(1.0)  # 5 at the turn, 4 at the end
    assert found.p_value == pytest.approx(1 / 32)  # one-sided, over half of ten repetitions


def test_a_rise_whose_largest_is_not_its_end_says_that_no_turn_is_shown() -> None:
    table = NET_RISE.copy()
    table[1, 4] = 5.5  # one of the five that are tested is larger at the end
    found = rising(table)
    assert found.verdict == "fails"
    assert found.reason.startswith("transfer rises with it, no turn is shown; ")


STEPS = np.arange(5.0)
# Truth, spread, and bounds on the share of studies of ten repetitions in which a turn is seen. The test is conservative
# but on a plateau, where it comes to 3.1%: else an end is often the largest in one half, or above the rest in the other.
TURNS = {
    "rising": (STEPS, 1.0, 0.0, 0.02),
    "rising, much noise": (STEPS, 10.0, 0.0, 0.05),
    "flat": (0 * STEPS, 1.0, 0.0, 0.05),
    "plateau": (np.array([-9.0, *[0.0] * 6]), 1.0, 0.02, 0.07),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TURNS)
def test_false_positives_of_a_turn(name: str) -> None:
    truth, spread, least, most = TURNS[name]
    rng = np.random.default_rng(0)
    found = [rising(truth + spread * rng.normal(size=(10, len(truth)))) for _ in range(1000)]
    turns = np.mean(["transfer turns" in one.reason for one in found])
    assert least <= turns < most, turns
    if name == "flat":  # the other error: that nothing rises, but it is said to
        assert np.mean([one.verdict == "fails" for one in found]) < 0.05
    if name in ("rising", "plateau"):  # nor does it hold in another way
        assert np.mean([one.verdict == "holds" for one in found]) < most
