"""What the claims on poisoning take for a yes: damage to compare with, counted work, a bend, half of the damage kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import planted_poisoning as planted
import pytest
from test_claims_poisoning import FINE, TABLE, filters, verdicts

from transfer_exp.report.claims import Verdict


@pytest.mark.parametrize("power", [1, 2, 3])
def test_damage_that_gets_steeper_everywhere_has_no_threshold(power: int) -> None:
    def smooth(rows: pd.DataFrame, sign: int) -> None:
        rows["harm"] = 0.2 * (rows["epsilon"] / 0.2) ** power + 0.001 * np.random.default_rng(3).normal(size=len(rows))

    found = verdicts("TH1", planted.study(smooth, 1, shares=FINE))
    assert [v.verdict for v in found] == ["fails", "fails"], found
    assert all(v.statistic < 0 for v in found)


def heuristics_verdicts(bilevel: float, heuristic: float, **counts: tuple[float, float]) -> list[Verdict]:
    """Of BP1 with this damage, and numbers recorded of bilevel optimisation and of prototypes; seconds are 10 and 6."""

    def exact(rows: pd.DataFrame, sign: int) -> None:
        own = rows["attack"] == "prototypes"
        rows["harm"] = np.where(own, heuristic, bilevel) * rows["epsilon"] / 0.1 + 0.001 * rows["noise"]
        rows["effort/cpu_seconds_at_0.1"] = np.where(own, 6.0, 10.0) + 0.01 * rows["noise"]
        for name, (of_bilevel, of_other) in counts.items():
            rows[f"effort/{name}"] = np.where(own, of_other, of_bilevel) + rows["seed"] * (of_other > 0)

    return verdicts("BP1", planted.study(exact, 1, attacks=("poisoning", "prototypes")))


def test_heuristics_are_compared_where_bilevel_optimisation_does_damage() -> None:
    for one in heuristics_verdicts(-0.02, 0.0):  # 0 is above 80% of -0.02
        assert one.verdict == "not tested"
        assert one.reason.startswith("no damage of bilevel optimisation to compare with")


def test_cost_is_counted_work_where_the_heuristic_retrains() -> None:
    *_, seconds = heuristics_verdicts(0.2, 0.2)
    assert (seconds.verdict, seconds.statistic_name) == ("fails", "CPU seconds below 20% of those of bilevel optimisation")
    assert "seconds depend on the machine" in seconds.reason
    *_, counted = heuristics_verdicts(0.2, 0.2, retrainings=(900, 300), gradients=(800, 0))
    assert counted.verdict == "holds"  # 6 of 10 s, but 300 of 1,700
    assert counted.statistic == pytest.approx(0.2 * 1705.5 - 305.5)
    assert counted.reason.startswith("means 306 and 1,706; 6 s and 10 s; ")
    assert "machine" not in counted.reason
    *_, no_learner = heuristics_verdicts(0.2, 0.2, retrainings=(900, 0), gradients=(800, 0))  # its own ascents count nowhere
    assert no_learner.statistic_name == seconds.statistic_name


@pytest.mark.parametrize(("past", "answer"), [(0.031, "fails"), (0.15, "holds")])
def test_points_that_know_a_filter_keep_half_of_their_damage(past: float, answer: str) -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        behind, knows = rows["target"] == "sanitised_centre", rows["attack"] == "poisoning_aware"
        rows["harm"] = np.where(behind, np.where(knows, past, 0.02), 0.2) + 0.001 * rows["noise"]

    unaware, aware = verdicts("SN1", planted.study(plant, 1, **TABLE["SN1"][1]))
    assert (unaware.verdict, aware.verdict) == ("holds", answer)  # 0.031 is more than those who do not know it do
    assert aware.statistic == pytest.approx(past - 0.1, abs=0.001)
    assert f"means {past:.3f} and 0.200 without the filter; past the filter means {past:.3f} and 0.020 of" in aware.reason


def test_what_a_filter_takes_of_points_that_know_it_takes_a_target_without_it() -> None:
    def elsewhere(rows: pd.DataFrame, sign: int) -> None:
        filters(rows, sign)
        rows["left_out"] = (rows["attack"] == "poisoning_aware") & (rows["target"] == "svm_low")

    found = verdicts("SN1", planted.study(elsewhere, 1, **TABLE["SN1"][1]))[-1]
    assert found.verdict == "not tested"
    assert found.reason.startswith("their damage without the filter is not recorded; add target=svm_low; past the filter ")
