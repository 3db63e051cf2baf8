"""Where a claim has no verdict, or must not say yes: studies that lack a part of it, and effects of another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import planted_claims as evasion
import planted_poisoning as poisoning
import planted_study
import pytest

from transfer_exp.report.claims import CLAIMS, Numbers, Verdict, evaluate, tests
from transfer_exp.report.claims.base import NOT_AFTER_HOLM
from transfer_exp.report.claims.corrections import with_holm
from transfer_exp.report.study import Study

EMPTY = Numbers(sign_tests=pd.DataFrame(), correlations=pd.DataFrame(), data_shares=pd.DataFrame())
GOALS = {"attack.goal": ("next",), "attack.n_gradients": (10, 50), "attack.objective": ("cross_entropy", "logit")}
STOPS = {"attack.stop_at": (0.5, 0.75, 1)}


def verdicts(claim: str, study: Study) -> list[Verdict]:
    return next(one for one in CLAIMS if one.id == claim).verdicts(study, EMPTY)


def with_a_single_run(settings: Mapping[str, Sequence[object]]) -> Study:
    """A study with one more run for each combination of the settings: of another C, on one seed, no sweep's."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        single = rows[(rows["seed"] == 0) & (rows["target"] == "svm_low")]
        rows["surrogate.C"], rows["parent"] = "1", ""
        for i, (_, row) in enumerate(single.iterrows(), start=len(rows)):
            rows.loc[i] = {**row, "surrogate.C": "0.5", "parent": ""}
        rows["parent"] = [f"p{i}" for i in range(len(rows))]
        if "attack.stop_at" in rows:
            rows["rate"] += 0.1 * rows["attack.stop_at"]

    return evasion.study(settings, plant, 1)


def test_a_run_of_another_learner_makes_no_pair_of_attacks() -> None:
    single = with_a_single_run({})
    assert len(single.others) == 1
    assert [v.verdict for claim in ("TA2", "TG1", "TA1") for v in verdicts(claim, single)] == []
    stopped = verdicts("TA2", with_a_single_run(STOPS))
    assert [(v.verdict, v.n) for v in stopped] == [("fails", 12), ("not tested", 1)]


@pytest.mark.parametrize(("claim", "settings", "name"), [("TA2", STOPS, "stop_at"), ("TG1", GOALS, "n_gradients")])
def test_attacks_without_the_number_that_varies_are_passed_over(
    claim: str, settings: Mapping[str, Sequence[object]], name: str
) -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        rows["targeted_success"] = 0.4 + 0.01 * rows["noise"]

    made = dict(settings)
    told = {v.learner: v.n for v in verdicts(claim, evasion.study(made, plant, 1))}
    more = {**made, f"attack.{name}": (*made[f"attack.{name}"], None)}
    assert told == {v.learner: v.n for v in verdicts(claim, evasion.study(more, plant, 1))} != {}


def test_a_published_claim_that_raises_spoils_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, study: Study, numbers: Numbers) -> list[Verdict]:
        raise ValueError("broken")

    study = evasion.study({}, lambda rows, sign: None, 0, seeds=2)
    monkeypatch.setattr("transfer_exp.report.claims.CLAIMS", CLAIMS[:1])
    monkeypatch.setattr("transfer_exp.report.claims.base.Claim.verdicts", broken)
    (told,) = evaluate(study, EMPTY)
    assert (told.verdict, told.reason) == ("not tested", "its function raised ValueError: broken")


CONCAVE = (0.0, 0.005, 0.011, 0.0125, 0.02, 0.05, 0.1, 0.15, 0.2)


@pytest.mark.parametrize("n_target", [80.0, np.nan])
def test_shares_that_place_no_point_are_no_threshold(n_target: float) -> None:
    """0.5% of 80 points are none, 1.1% and 1.25% are both one: from there on, damage rises as the root of the share."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        share = rows["epsilon"].where(rows["epsilon"] > 0.006, 0.0)
        rows["harm"], rows["n_target"] = np.sqrt(share) * (1 + 0.02 * np.tanh(rows["noise"])), n_target

    found = verdicts("TH1", poisoning.study(plant, 1, shares=CONCAVE, targets=("svm_low",)))
    assert [v.verdict for v in found] == ["fails"]
    if n_target == 80:  # the first shares that place another number of points place 1 and 2, and 2 of 82 are 2.4%
        assert "the best bend is at 2.4% of points" in found[0].reason


def test_who_knows_the_filter_is_held_against_the_other_on_the_same_data() -> None:
    """Points do more on the second data set, whoever makes them, with a filter or without."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        rows["harm"] = np.where(rows["dataset"] == "digits", 0.3, 0.1) + 0.001 * rows["noise"]

    targets, attacks = ("svm_low", "sanitised_centre"), ("poisoning", "poisoning_aware")
    study = poisoning.study(
        plant, 1, attacks=attacks, targets=targets, settings={"dataset": ("mnist", "digits")}, surrogates=("svm_low",)
    )
    found = [v for v in verdicts("SN1", study) if "poisoning_aware" in v.learner]
    assert len(found) == 2
    assert sorted(v.statistic for v in found) == pytest.approx([0.1 / 2, 0.3 / 2], abs=0.01)
    for same, one in zip((0.1, 0.3), sorted(found, key=lambda v: v.statistic), strict=True):
        assert f"past the filter means {same:.1f}" in one.reason


@pytest.mark.parametrize(("claim", "n"), [("NN1", 1), ("SN1", 1)])
def test_without_damage_there_is_none_to_lose(claim: str, n: int) -> None:
    """The attack does nothing to its own kind, and by chance a little less than nothing elsewhere."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        rows["harm"] = np.where(rows["target"] == "svm_low", 0.0, -0.01) + 0.0001 * rows["noise"]

    targets = ("svm_low", "mlp_low") if claim == "NN1" else ("svm_low", "sanitised_centre")
    found = verdicts(claim, poisoning.study(plant, 1, surrogates=("svm_low",), targets=targets))
    assert [v.verdict for v in found] == ["not tested"] * n
    assert all(v.reason.startswith("no damage to lose; means ") and np.isnan(v.p_value) for v in found)


@pytest.mark.parametrize("defended", ["tuned", "sanitised", "bagged"])
def test_defended_targets_are_not_among_the_others(defended: str) -> None:
    """A forest is harmed as the other targets are, but for one that its defence makes worse."""

    def plant(rows: pd.DataFrame) -> None:
        rows["clean_error"] = 0.05
        rows["error"] = 0.3 + np.where(rows["family"] == "forest", 0.01, 0.0)
        own = rows["target"] == "mlp_high"
        rows.loc[own, "error"] = 0.9
        rows.loc[own, "target"], rows.loc[own, "family"] = f"{defended}_mlp", defended

    found = verdicts("5c", planted_study.study(plant, attack="poisoning", fractions=(1.0,)))
    assert [(v.verdict, v.statistic) for v in found] == [("fails", 0)] * 2


A, B = "learners.MLP", "learners.CNN"
FAMILIES = [(A, None), (A, A), (B, None), (B, B), (A, B)]


@pytest.mark.parametrize(("mixed", "answer"), [(0.6, "fails"), (0.8, "holds")])
def test_mixed_ensembles_are_held_against_the_better_family(mixed: float, answer: str) -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        rates = {FAMILIES[1]: 0.4, FAMILIES[3]: 0.7, FAMILIES[4]: mixed}
        rows["rate"] += rows["members"].map(rates).fillna(0.5) - 0.5
        for place, name in enumerate("ab"):
            rows[f"surrogate.members.{name}._target_"] = [one[place] for one in rows["members"]]
        rows["surrogate._target_"] = "learners.Ensemble"
        del rows["members"]

    (found,) = verdicts("EN1", evasion.study({"members": FAMILIES}, plant, 1, surrogates=("ensemble",)))
    assert found.verdict == answer
    assert found.statistic == pytest.approx(mixed - 0.7, abs=0.02)


def test_each_family_has_a_trend_of_its_own() -> None:
    """With size one family rises, the other falls more."""
    sizes = [(kind,) * n + (None,) * (4 - n) for kind in (A, B) for n in (1, 2, 4)]

    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        for place, name in enumerate("abcd"):
            rows[f"surrogate.members.{name}._target_"] = [one[place] for one in rows["members"]]
        size = rows["members"].map(lambda one: sum(member is not None for member in one))
        rows["rate"] += np.where(rows["members"].map(lambda one: one[0] == A), 0.05, -0.1) * size
        rows["surrogate._target_"] = "learners.Ensemble"
        del rows["members"]

    found = {v.learner: v.statistic for v in verdicts("EN1", evasion.study({"members": sizes}, plant, 1))}
    assert found["MLP: size"] == pytest.approx(1.0, abs=0.1)
    assert found["CNN: size"] == pytest.approx(-1.0, abs=0.1)


@pytest.mark.parametrize(
    ("gain", "size", "answer"),
    [(1.2, 1.6, "fails"), (1.2, 1.2, "holds"), (1.0, 1.1, "not tested")],
    ids=["changes its sign", "goes", "was none"],
)
def test_a_difference_that_changes_its_sign_does_not_shrink(gain: float, size: float, answer: str) -> None:
    """0.5 against 0.6; at equal size 0.5 against 0.6 / 1.6 = 0.375, a larger difference."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        own = rows["attack"] == "mifgsm"
        rows.loc[own, "rate"] *= gain
        rows.loc[own, "perturbation_l2"] *= size

    (found,) = verdicts("TA3", evasion.study({"attack": ("pgd", "mifgsm")}, plant, 1))
    assert found.verdict == answer
    assert found.reason.startswith("no difference at equal epsilon; gain") == (answer == "not tested")


@pytest.mark.parametrize(
    ("states", "epochs", "answer"),
    [((1, 2, 4, 16), "16", "holds"), ((1, 2, 4), "16", "not tested"), ((0, 1, 2), "16", "holds"),
     ((1, 2, 4), None, "not tested")],
)  # fmt: skip
def test_the_last_state_is_the_end_only_where_it_is_that_of_the_last_epoch(
    states: Sequence[int], epochs: str | None, answer: str
) -> None:
    def plant(rows: pd.DataFrame, sign: int) -> None:
        del sign
        rows["rate"] += 0.1 * (rows["surrogate.checkpoint"] == 2)
        if epochs:
            rows["surrogate.n_epochs"] = epochs

    (found,) = verdicts("ES1", evasion.study({"surrogate.checkpoint": states}, plant, 1))
    assert found.verdict == answer
    assert ("end of the training" in found.reason) == (answer == "not tested")


def test_what_holds_by_the_absence_of_a_trend_is_not_lost_to_holms_correction() -> None:
    made = [
        Verdict(
            claim="MA1", statement="", learner=name, statistic_name="tau", statistic=0.0, n=10, verdict="holds", p_value=p
        )
        for name, p in (("a", 0.7), ("b", 0.03), ("c", 0.001))
    ]
    assert [NOT_AFTER_HOLM in one.reason for one in with_holm(made)] == [False, True, False]


def test_mean_and_ranks_on_two_sides_show_nothing() -> None:
    """Eleven gains are small and one loss is large: the ranks see a gain, p = 0.034, and the mean is a loss."""
    values = np.array([*range(1, 12), -200.0])
    assert tests.signed_ranks(values) < 0.05
    assert tests.paired(values).effect < 0
    assert tests.paired(values).p_value == tests.paired(-values).p_value == 1.0
    assert tests.paired(np.abs(values)).p_value == pytest.approx(2 / 2**12)
    assert np.isnan(tests.paired(np.zeros(8)).p_value)
    assert tests.signed_ranks(values, "greater") < 0.05
    assert tests.above(values, n=24).p_value == 1.0
