"""Every claim of the report: its planted effect holds, the reverse fails, nothing fails or is not tested."""

from __future__ import annotations

import functools
import math

import numpy as np
import pandas as pd
import planted_study as planted
import pytest

from transfer_exp import stats
from transfer_exp.report import comparisons, correlations, tables
from transfer_exp.report.claims import CLAIMS, Numbers, Verdict
from transfer_exp.report.claims.base import NOT_AFTER_HOLM
from transfer_exp.report.claims.corrections import with_holm
from transfer_exp.report.study import Study

STUDIES = {
    "evasion": ("evasion", planted.evasion(1)),
    "evasion reversed": ("evasion", planted.evasion(-1)),
    "evasion nothing": ("evasion", planted.nothing),
    "V reversed": ("evasion", planted.transfer_rises_with_variability),
    "less data, same": ("evasion", planted.less_data(0.02)),
    "less data, more transfer": ("evasion", planted.less_data(0.1)),
    "less data, less transfer": ("evasion", planted.less_data(-0.1)),
    "less data, anything": ("evasion", planted.less_data(0.0, spread=0.3)),
    "poisoning": ("poisoning", planted.poisoning(1)),
    "poisoning reversed": ("poisoning", planted.poisoning(-1)),
    "poisoning nothing": ("poisoning", planted.nothing),
    "lucky half": ("poisoning", planted.lucky_half),
    "R": ("poisoning", planted.ratio_follows(0.5, 0.1)),
    "V": ("poisoning", planted.ratio_follows(0.1, -0.5)),
    "neither": ("poisoning", planted.ratio_follows(0.0, 0.0)),
    "malware": ("evasion_add", planted.added_features(1)),
    "malware reversed": ("evasion_add", planted.added_features(-1)),
    "malware nothing": ("evasion_add", planted.nothing),
}
TWINS, BOTH = ("svm", "logistic", "ridge"), ("Pearson", "Kendall")
# claim -> (learners or statistics), the study that plants it, those that fail it: the reverse first, then nothing
TABLE = {
    **dict.fromkeys(("1a", "1b", "1c"), ((*TWINS, "mlp"), "evasion", ("evasion reversed", "evasion nothing"))),
    **dict.fromkeys(("2a", "3a", "7a", "7b"), (TWINS, "evasion", ("evasion reversed", "evasion nothing"))),
    **dict.fromkeys(("3b", "3c"), (BOTH, "evasion", ("V reversed", "evasion nothing"))),
    **dict.fromkeys(("4a", "4b"), (BOTH, "evasion", ("evasion reversed", "evasion nothing"))),
    "2b": (("-",), "less data, same", ("less data, more transfer", "less data, less transfer", "less data, anything")),
    "5a": (tuple(planted.TWINS), "poisoning", ("poisoning reversed", "poisoning nothing")),
    "5b": (("-",), "R", ("V", "neither")),
    "5c": (("forest_high", "forest_low"), "poisoning", ("poisoning reversed", "poisoning nothing")),
    "5d": (("mlp_high", "mlp_low"), "poisoning", ("poisoning reversed", "poisoning nothing")),
    "5e": (("-",), "poisoning", ("poisoning reversed", "lucky half")),
    "6": (("forest_high", "forest_low"), "malware", ("malware reversed", "malware nothing")),
}
REVERSED = "significant the other way round"


@functools.cache
def study(name: str, seeds: int = 10) -> Study:
    attack, plant = STUDIES[name]
    shares = attack != "poisoning" and (seeds == 10 or name.startswith("less data"))
    return planted.study(plant, attack=attack, seeds=seeds, fractions=(1.0, 0.2) if shares else (1.0,))


def numbers(kind: str, of: Study | None) -> Numbers:
    """One kind of tests of a study: all would take long."""
    make = {"paired": comparisons.sign_tests, "correlated": correlations.correlations, "share": comparisons.data_shares}
    rows = make[kind](of) if of is not None and kind in make else pd.DataFrame()
    return Numbers(sign_tests=rows, correlations=rows, data_shares=rows)


@functools.cache
def found(kind: str, name: str, seeds: int) -> tuple[Verdict, ...]:
    """The verdicts on the claims that rest on one kind of tests."""
    own = [claim for claim in CLAIMS if kind_of(claim.id) == kind]
    made = numbers(kind, study(name, seeds))
    return tuple(verdict for claim in own for verdict in claim.verdicts(study(name, seeds), made))


def kind_of(claim: str) -> str:
    kinds = {"paired": ("1a", "1b", "1c", "2a", "3a", "7a", "7b"), "correlated": ("3b", "3c", "4a", "4b"), "share": ("2b",)}
    return next((kind for kind, own in kinds.items() if claim in own), "attack")


def on(claim: str, made_up: Study) -> list[Verdict]:
    """The verdicts of another study on a claim that rests on no tests made before."""
    return next(each for each in CLAIMS if each.id == claim).verdicts(made_up, numbers("none", None))


def verdicts(claim: str, name: str, seeds: int = 10) -> dict[str, Verdict]:
    """By learner, or by statistic where a claim has several on all learners. No learner has two."""
    own = [c for c in found(kind_of(claim), name, seeds) if c.claim == claim]
    keys = [c.statistic_name if c.statistic_name in BOTH else c.learner for c in own]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, own, strict=True))


@pytest.mark.parametrize("claim", TABLE)
def test_planted_effect_holds(claim):
    whose, name, _ = TABLE[claim]
    own = verdicts(claim, name)
    assert {key: own[key].verdict for key in whose} == dict.fromkeys(whose, "holds")


@pytest.mark.parametrize(("claim", "name"), [(claim, name) for claim, row in TABLE.items() for name in row[2]])
def test_reversed_effect_and_nothing_fail(claim, name):
    own, whose = verdicts(claim, name), TABLE[claim][0]
    assert {key: own[key].verdict for key in whose} == dict.fromkeys(whose, "fails")
    reversed_test = name == TABLE[claim][2][0] and not math.isnan(own[whose[0]].p_value) and claim != "5b"  # one-sided
    assert {REVERSED in own[key].reason for key in whose} == {reversed_test}


def test_table_has_every_claim_that_a_report_makes():
    rooms = [("paired", "evasion"), ("correlated", "evasion"), ("share", "less data, same")]
    rooms += [("attack", "poisoning"), ("attack", "malware")]
    made = {c.claim for room, name in rooms for c in found(room, name, 10)}
    assert {claim for claim in made if claim[0].isdigit()} == set(TABLE)


# claim -> the fewest repetitions for a verdict
FEWEST = {
    **dict.fromkeys(("1a", "1b", "1c", "2a", "3a", "5a", "5c", "5d", "6", "7a", "7b"), 6),
    **dict.fromkeys(("2b", "3b", "3c", "4a", "4b", "5b"), 5),
    "5e": 10,
}


def test_claims_say_how_many_repetitions_a_verdict_takes():
    assert {claim.id: claim.fewest for claim in CLAIMS if claim.id[0].isdigit()} == FEWEST


SLOW = [
    pytest.param(c, marks=pytest.mark.slow if kind_of(c.id) == "correlated" else (), id=c.id)
    for c in CLAIMS
    if c.id in TABLE
]  # the paper's


@pytest.mark.parametrize("claim", SLOW)
def test_without_one_of_the_measures_that_a_claim_needs_there_is_no_verdict(claim):
    """Each of them is gone from the planted study, alone."""
    name = TABLE[claim.id][1]
    attack, plant = STUDIES[name]
    for measure in claim.measures:

        def without(rows, measure=measure):
            plant(rows)
            rows[measure] = np.nan

        lacking = planted.study(without, attack=attack, seeds=10, fractions=(1.0, 0.2) if claim.factors else (1.0,))
        answers = {v.verdict for v in claim.verdicts(lacking, numbers(kind_of(claim.id), lacking))}
        assert answers <= {"not tested"}, measure


def test_a_claim_is_made_of_its_scenarios_alone():
    for name, scenario in (("evasion", "classification"), ("malware", "detection"), ("poisoning", "poisoning")):
        made = {c.id for c in CLAIMS if scenario in c.scenarios}
        assert made
        for claim in CLAIMS:
            if claim.id not in made:
                assert claim.verdicts(study(name), numbers("none", None)) == []


def test_every_claim_has_a_source_and_a_number_of_its_own():
    assert len({(claim.source, claim.id) for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.source and claim.statement for claim in CLAIMS)


_QUICK = ("1a", "2b", "3b", "5e")  # one of each kind of test


@pytest.mark.parametrize("claim", [pytest.param(c, marks=() if c in _QUICK else pytest.mark.slow) for c in TABLE])
def test_too_few_repetitions_give_no_verdict_and_say_how_many_do(claim):
    whose, name, _ = TABLE[claim]
    few, enough = verdicts(claim, name, FEWEST[claim] - 1), verdicts(claim, name, FEWEST[claim])
    assert {few[key].verdict for key in whose} == {"not tested"}
    assert all(f"needs {FEWEST[claim]}" in few[key].reason for key in whose)
    assert {enough[key].verdict for key in whose} == {"holds"}


def test_holms_correction_is_over_the_learners_of_one_claim():
    # 10 of 10 have p = 2 / 2^10; three families of surrogates, four of targets and ten targets of 5a are tested.
    made = [*found("paired", "evasion", 10), *found("correlated", "evasion", 10), *found("attack", "poisoning", 10)]
    corrected = with_holm(made)
    for claim, tested in (("1a", 4), ("2a", 3), ("5a", 10)):
        own = [c for c in corrected if c.claim == claim and not math.isnan(c.p_value)]
        assert len(own) == tested
        assert {c.p_holm for c in own if c.verdict == "holds"} == {tested * 2 / 2**10}
    assert all(math.isnan(c.p_holm) for c in corrected if c.learner == "-")


@pytest.mark.parametrize(("claim", "tested"), [("5a", 10), ("5c", 2), ("5d", 2), ("6", 2)])
def test_what_holds_but_not_after_holms_correction_says_so(claim, tested):
    # 6 of 6 have p = 2 / 2^6 = 0.031, which two learners make 0.062; 10 of 10 stay below 0.05 with ten.
    name, remark = "malware" if claim == "6" else "poisoning", "not after Holm's correction; means "
    few, enough = (
        [c for c in with_holm([*found("attack", name, seeds)]) if c.claim == claim and c.verdict == "holds"]
        for seeds in (6, 10)
    )
    for own in (few, enough):
        assert {c.learner for c in own} >= set(TABLE[claim][0])
    assert {c.p_holm for c in few} == {tested * 2 / 2**6}
    assert all(c.reason.startswith(remark) for c in few)
    assert all(c.reason.startswith("means ") for c in enough)


def test_a_claim_that_fails_has_no_remark_on_holms_correction():
    made = [c for c in with_holm([*found("attack", "poisoning reversed", 6)]) if c.verdict == "fails"]
    assert {"5a", "5c", "5d"} <= {c.claim for c in made if c.p_holm >= stats.ALPHA}
    assert not any("Holm" in c.reason for c in made)


def test_n_counts_the_learners_that_are_exchanged():
    # 7 surrogates: 3b. Pairs: six learners in both roles and two MLPs as targets alone; the seventh surrogate stays.
    assert verdicts("3b", "evasion")["Pearson"].n == 7
    assert verdicts("4b", "evasion")["Pearson"].n == 8
    assert "56 pairs of 7 x 8" in verdicts("4b", "evasion")["Pearson"].reason
    table = correlations.correlations(study("R")).set_index(["x", "y", "kind"])
    assert table.loc[("loss_variability", "error_ratio", "pearson"), "n"] == 7
    assert table.loc[("gradient_size", "whitebox_error", "pearson"), "n"] == 8


@pytest.mark.parametrize("surrogate", ["svm_low", "logistic_low", "ridge_low"])
def test_each_linear_surrogate_of_low_complexity_counts_for_the_mlp(surrogate):
    """One of the three alone spares the MLP, so much that their mean does."""

    def plant(rows):
        rows["clean_error"] = 0.05
        mlp = rows["family"] == "mlp"
        spared = np.where(mlp, np.where(rows["surrogate"] == surrogate, -0.4, 0.1), 0)
        rows["error"] = 0.45 + 0.01 * (rows["seed"] % 3) + spared

    own = on("5d", planted.study(plant, attack="poisoning", fractions=(1.0,)))
    assert {(c.learner, c.verdict, c.statistic) for c in own} == {(f"mlp_{level}", "holds", 10) for level in ("high", "low")}


def test_what_a_surrogate_alone_has_is_not_tested_as_if_its_pairs_were_independent():
    # V rises with the surrogate's rank, the ratio as well but for one swap: 7 surrogates cannot give p below 2 / 7!.
    table = correlations.correlations(study("V")).set_index(["x", "y", "kind"])
    assert table.loc[("loss_variability", "error_ratio", "pearson"), "p_value"] >= 1 / math.factorial(7)


def test_largest_ratio_is_judged_by_the_repetitions_that_did_not_choose_it():
    claim = verdicts("5e", "poisoning")["-"]
    assert claim.statistic_name == "ratio of svm_low on ridge_high, largest in the other half"  # one name in all studies
    odd = 1.3 + 0.01 * sum(seed % 3 for seed in range(1, 10, 2)) / 5
    assert (claim.statistic, claim.n) == (pytest.approx(odd), 5)


def test_intervals_over_repetitions_are_those_of_a_mean():
    rows = tables.at(study("less data, same"), planted.REFERENCE)
    less = tables.at(study("less data, same"), planted.REFERENCE, 0.2)
    change = less.groupby("seed")["error"].mean() - rows.groupby("seed")["error"].mean()
    claim = verdicts("2b", "less data, same")["-"]
    assert (claim.low, claim.high) == pytest.approx(stats.mean_interval(change.to_numpy()))


@pytest.mark.parametrize("claim", ["2b", "3b", "4a", "4b", "5b", "5e"])
def test_an_interval_surrounds_the_statistic_that_is_shown_with_it(claim):
    for name in (TABLE[claim][1], *TABLE[claim][2]):
        shown = [c for c in verdicts(claim, name).values() if not math.isnan(c.low)]
        assert shown
        assert all(c.low <= c.statistic <= c.high for c in shown), name


@pytest.mark.parametrize("claim", ["1a", "2a", "7b"])
def test_what_holds_between_twins_but_not_after_holms_correction_says_so(claim):
    """6 of 6 have p = 2 / 2^6, which three learners make 0.094; of what fails only the failing is said."""
    holding = [c for c in verdicts(claim, "evasion", 6).values() if c.verdict == "holds"]
    assert {c.reason for c in holding if c.p_holm >= stats.ALPHA} == {NOT_AFTER_HOLM}
    failing = [c for c in verdicts(claim, "evasion nothing", 6).values() if c.verdict == "fails"]
    assert failing
    assert all("Holm" not in c.reason for c in failing)


def test_the_number_of_repetitions_behind_less_data():
    assert verdicts("2b", "less data, same")["-"].n == 10
    assert verdicts("2b", "less data, same", 5)["-"].n == 5


def test_ratio_is_of_targets_without_a_defence():
    """The white box of a defended target does not know the defence: its ratio, and only that, is large and follows V."""

    def plant(rows):
        planted.ratio_follows(-0.1, 0.0)(rows)
        defended = rows["target"].isin(["mlp_high", "mlp_low"])
        ratio = np.where(defended, 2 + 0.1 * rows["gradient_alignment"], 0.5 + 0.1 * rows["loss_variability"])
        rows["whitebox_error"] = rows["error"] / (ratio + 0.001 * (rows["seed"] % 3))
        rows["target"] = rows["target"].str.replace("mlp", "sanitised")
        rows["gradient_alignment"] = np.where(defended, ratio, 0.9 * rows["gradient_alignment"])

    made_up = planted.study(plant, attack="poisoning", fractions=(1.0,))
    assert "sanitised" in set(map(made_up.learners.family, made_up.curves["target"].unique()))
    (largest,), (alignment,) = on("5e", made_up), on("5b", made_up)
    assert (largest.verdict, largest.statistic < 1) == ("fails", True)
    assert (alignment.verdict, alignment.statistic < 0) == ("fails", True)


def test_few_surrogates_are_no_verdict_on_alignment_and_variability():
    def plant(rows):
        planted.ratio_follows(0.5, 0.1)(rows)
        rows.loc[~rows["surrogate"].isin(planted.SURROGATES[:4]), "whitebox_error"] = np.nan

    (own,) = on("5b", planted.study(plant, attack="poisoning", fractions=(1.0,)))
    assert (own.verdict, own.reason) == ("not tested", "4 surrogates; the test exchanges at least 5")


def test_without_a_white_box_the_largest_ratio_is_named_and_not_tested():
    def plant(rows):
        rows["whitebox_error"] = np.nan

    (own,) = on("5e", planted.study(plant, attack="poisoning", fractions=(1.0,)))
    assert (own.verdict, own.reason) == ("not tested", "no pair has a white-box error in every repetition")


def test_the_table_of_tests_says_which_twin_is_expected_to_be_larger():
    table = comparisons.sign_tests(study("evasion")).groupby("test")["expected"].unique()
    high, low = ["white-box error", "S (own loss)", "V (own loss)"], ["mean transfer", "perturbation size"]
    assert {table[name].item() for name in high} == {"high"}
    assert {table[name].item() for name in (*low, "epsilon that misleads half of the points")} == {"low"}
