"""Tables, gaps and claims of a study, without a store: what is planted must be found, what is missing must be named."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag
from synthetic_study import SMALL, SURROGATES, combination, frames, grid

from transfer_exp import stats
from transfer_exp.report import comparisons, correlations, gaps, tables, words
from transfer_exp.report.claims import CLAIMS, Numbers, Verdict, evaluate
from transfer_exp.report.claims.base import judged
from transfer_exp.report.curves import curves_frame
from transfer_exp.report.records import runs_frame
from transfer_exp.report.study import assemble
from transfer_exp.types import UserError, counted

SEEDS = range(8)


def small(*, seeds=SEEDS, fractions=(1.0, 0.2), attack="evasion") -> list:
    return grid(SMALL["surrogates"], SMALL["targets"], fractions, seeds, attack=attack)


@pytest.fixture(scope="module")
def study():
    return frames(small())


@pytest.fixture(scope="module")
def claims(study):
    return evaluate(study)


def verdicts_on(study, numbers, *claims: str) -> list[Verdict]:
    """The verdicts on some claims alone, which is quick."""
    return [verdict for claim in CLAIMS if claim.id in claims for verdict in claim.verdicts(study, numbers)]


def paired(study) -> list[Verdict]:
    """The claims on H against L."""
    return verdicts_on(study, numbers_of(comparisons.sign_tests(study)), "1a", "1b", "1c", "2a", "3a", "7a", "7b")


def of(claims: list[Verdict], number: str) -> dict[str, Verdict]:
    return {c.learner + (c.statistic_name if c.learner == "-" else ""): c for c in claims if c.claim == number}


def test_error_matrix_is_the_mean_over_seeds_with_pairs_adjacent(study):
    table = tables.error_matrix(study, 2.0)
    assert list(table.index) == ["svm_high", "svm_low", "mlp_high", "mlp_low"]
    assert list(table.columns) == ["svm_high", "svm_low", "mlp_low", "forest_low"]
    curves = [combination("mlp_high", "svm_low", 1.0, seed)["curve"] for seed in SEEDS]
    expected = np.mean([curve.loc[curve["epsilon"] == 2.0, "error"].item() for curve in curves])
    assert table.loc["mlp_high", "svm_low"] == pytest.approx(expected)


def test_tables_by_learner_are_means_of_all_their_columns(study):
    """Every column that the csv file has, under its name, by hand from the combinations."""
    surrogate = ["loss_variability", "loss_variability_cross_entropy", "surrogate_clean_error", "surrogate_error"]
    surrogate += ["perturbation_l0", "perturbation_l1", "perturbation_l2", "perturbation_linf", "posterior_gap", "logit_gap"]
    target = ["gradient_size", "gradient_size_cross_entropy", "clean_error", "whitebox_error", "whitebox_success"]
    target += ["whitebox_targeted_success", "noise_error"]
    pair = ["gradient_alignment", "perturbation_correlation", "error", "success", "targeted_success", "loss"]
    pair += ["loss_cross_entropy", "error_ratio", "transfer_rate", "same_mistake", "other_mistake", "unfooled"]
    for roles, columns, transfer in (
        (["surrogate"], surrogate, {"mean_transfer"}),
        (["target"], target, {"mean_transferred_error"}),
        (["surrogate", "target"], pair, set()),
    ):
        table = tables.pairs(study) if len(roles) == 2 else tables.learners_table(study, roles[0])
        row = table.set_index(roles).loc[("svm_low",) * len(roles) if len(roles) == 2 else "svm_low"]
        assert set(row.index) == {*columns, *transfer}
        mine = [item for item in small(fractions=[1.0]) if all(item["params"][role] == "svm_low" for role in roles)]
        at = [item["curve"].set_index("epsilon").loc[1.0].to_dict() | item["metrics"] for item in mine]
        for values in at:
            values |= dict.fromkeys(transfer, values["error"]) | {"error_ratio": values["error"] / values["whitebox_error"]}
        for column in row.index:
            assert row[column] == pytest.approx(np.mean([values[column] for values in at]), nan_ok=True), column


def test_row_and_column_means_are_those_of_the_cells():
    wide = tables.with_means(pd.DataFrame([[0.0, 1.0], [np.nan, 0.5]], index=["a", "b"], columns=["c", "d"]))
    assert wide.loc["a", "mean"] == 0.5
    assert wide.loc["b", "mean"] == 0.5
    assert wide.loc["mean", "c"] == 0.0
    assert wide.loc["mean", "d"] == 0.75


def test_text_matrix_has_aligned_columns_percents_and_a_dash_for_a_gap(study):
    table = pd.DataFrame([[0.634, np.nan]], index=["svm_high"], columns=["svm_low", "forest_low"])
    lines = tables.format_matrix(tables.with_means(table), title="error", learners=study.learners).splitlines()
    assert lines[0] == "error"
    assert lines[3].split() == ["SVM", "H", "63%", "–", "63%"]  # noqa: RUF001
    assert len({len(line) for line in lines[2:]}) == 1


def test_forest_has_no_measure_that_needs_gradients(study):
    row = tables.learners_table(study, "target").set_index("target").loc["forest_low"]
    assert row[["gradient_size", "gradient_size_cross_entropy", "whitebox_error"]].isna().all()
    assert row["mean_transferred_error"] > 0
    assert "forest_low" not in set(tables.whitebox_curves(study)["learner"])
    assert "forest_low" not in tables.matrix(tables.at_reference(study), "gradient_alignment", study.learners)


def test_planted_differences_of_h_and_l_hold(claims):
    for number in ("1a", "1b", "1c", "3a", "7b"):
        svm = of(claims, number)["svm"]
        assert (svm.verdict, svm.statistic, svm.n) == ("holds", 8, 8), number
        assert svm.p_value == pytest.approx(2 / 2**8)


def test_holm_is_over_the_learners_of_one_test(claims):
    # 2a: two families of surrogates with the same smallest p: twice it.
    assert [c.p_holm for c in of(claims, "2a").values()] == pytest.approx([2 * 2 / 2**8] * 2)


def test_reversed_difference_fails_and_says_so():
    items = small(fractions=[1.0])
    for item in items:
        item["metrics"]["loss_variability"] *= -1
    found = of(paired(frames(items)), "3a")["svm"]
    assert (found.verdict, found.reason) == ("fails", "significant the other way round")


def test_points_that_all_use_the_whole_of_epsilon_say_nothing_about_who_is_changed_more(claims):
    """Nor is it a gap that this attack leaves; of sizes that differ in some repetitions the claim is made."""
    assert "7a" not in {claim.claim for claim in claims}
    items = small(fractions=[1.0])
    for item in items:
        if item["params"]["surrogate"] == "svm_low" and item["params"]["seed"]:
            item["curve"]["perturbation_l2"] *= 1.1
    found = of(paired(frames(items)), "7a")
    assert (found["svm"].verdict, found["svm"].n) == ("holds", 7)
    assert "mlp" not in found


def test_missing_twin_and_forest_are_not_tested_with_their_reason(claims):
    assert of(claims, "1a")["mlp"].reason == "no run has MLP H as target"
    assert of(claims, "1a")["forest"].verdict == "not tested"


def test_few_repetitions_cannot_reach_significance_and_are_not_tested():
    found = of(paired(frames(small(seeds=range(5), fractions=[1.0]))), "1a")["svm"]
    assert found.verdict == "not tested"
    assert "needs 6" in found.reason


def test_planted_correlations_hold_with_interval():
    found = frames(grid(SURROGATES[:6], SURROGATES[:6], [1.0], SEEDS))
    claims = verdicts_on(found, numbers_of(correlations.correlations(found)), "4a", "4b")
    for number in ("4a", "4b"):
        for claim in of(claims, number).values():
            assert claim.verdict == "holds"
            assert claim.low <= claim.statistic <= claim.high
            assert claim.n == 6


def numbers_of(table: pd.DataFrame) -> Numbers:
    return Numbers(sign_tests=table, correlations=table, data_shares=table)


def test_three_learners_that_can_be_exchanged_are_too_few(claims):
    for claim in of(claims, "4a").values():
        assert claim.verdict == "not tested"
        assert "6 permutations of 3 learners" in claim.reason  # MLP H is a surrogate alone
        assert "12 pairs of 4 x 3" in claim.reason


def test_constant_column_is_named_not_raised():
    items = small(fractions=[1.0])
    for item in items:
        if "gradient_alignment" in item["metrics"]:
            item["metrics"]["gradient_alignment"] = 0.5
    for claim in of(evaluate(frames(items)), "4a").values():
        assert (claim.verdict, claim.reason) == ("not tested", "constant column; 12 pairs of 4 x 3")
        assert claim.plain()["p_value"] is None


def test_little_data_is_nearly_the_same_or_not(study, claims):
    before = comparisons.data_shares(study).query("surrogate == 'all' and epsilon == 1")["difference"].item()
    assert abs(before) < 0.05
    items = small()
    for item in items:
        if item["params"]["surrogate_fraction"] < 1:
            item["curve"]["error"] -= 0.1
    less = frames(items)
    (found,) = verdicts_on(less, numbers_of(comparisons.data_shares(less)), "2b")
    assert found.verdict == "fails"
    assert found.statistic == pytest.approx(before - 0.1)
    assert next(iter(of(claims, "2b").values())).verdict == "holds"


def test_only_common_seeds_count_between_twins():
    items = [x for x in small(fractions=[1.0]) if not (x["params"]["surrogate"] == "svm_low" and x["params"]["seed"] == 7)]
    high, low = tables.twins(tables.at(frames(items), 1.0), role="surrogate", pair=("svm_high", "svm_low"), column="error")
    assert list(high.index) == list(low.index) == list(range(7))


def test_needed_epsilon_is_interpolated_and_ends_at_the_largest():
    items = [combination("svm_high", "svm_low", 1.0, seed) for seed in range(2)]
    items[0]["curve"]["surrogate_error"] = np.linspace(0, 1, 11)  # half is reached at the sixth of 0, 0.5, ..., 5
    items[1]["curve"]["surrogate_error"] = 0.1
    found = comparisons.needed(frames(items)).set_index("seed")["needed"]
    assert found[0] == pytest.approx(2.5)
    assert found[1] == 5.0


def test_needed_epsilon_is_the_first_that_reaches_half_also_where_the_curve_falls_again():
    item = combination("svm_high", "svm_low", 1.0, 0)
    item["curve"]["surrogate_error"] = [0, 0.7, *[0.3] * 9]
    assert comparisons.needed(frames([item]))["needed"].item() == pytest.approx(0.5 * 0.5 / 0.7)


def test_needed_epsilon_is_the_first_of_several_with_exactly_half():
    item = combination("svm_high", "svm_low", 1.0, 0)
    item["curve"]["surrogate_error"] = [0, 0.25, 0.5, 0.5, 0.4, 0.5, *[1] * 5]  # half at the third of 0, 0.5, ..., 5
    assert comparisons.needed(frames([item]))["needed"].item() == 1.0
    item["curve"]["surrogate_error"] = [*[0.5] * 3, *[1] * 8]
    assert comparisons.needed(frames([item]))["needed"].item() == 0.0


def test_verdict_of_a_p_value():
    assert judged(0.01, as_claimed=True) == ("holds", "")
    assert judged(0.01, as_claimed=False)[0] == "fails"
    assert judged(0.05, as_claimed=True)[0] == "fails"


def test_poisoning_claims_on_planted_data():
    items = small(fractions=[1.0], attack="poisoning")
    for item in items:
        same = item["params"]["surrogate"].rsplit("_")[1] == item["params"]["target"].rsplit("_")[1]
        item["curve"]["error"] = item["curve"]["clean_error"] + (0.2 if same else 0.1) + 0.01 * item["params"]["seed"]
        if item["params"]["target"].startswith(("forest", "mlp")):
            item["curve"]["error"] = item["curve"]["clean_error"] + 0.01
        item["curve"]["whitebox_error"] = item["curve"]["error"] / 1.5
    claims = verdicts_on(frames(items), None, "5a", "5b", "5c", "5d", "5e")
    assert of(claims, "5a")["svm_high"].verdict == of(claims, "5a")["svm_low"].verdict == "holds"
    assert of(claims, "5a")["mlp_low"].verdict != "holds"
    assert of(claims, "5c")["forest_low"].verdict == "holds"
    assert of(claims, "5d")["mlp_low"].verdict == "holds"
    above = next(iter(of(claims, "5e").values()))
    assert above.statistic == pytest.approx(1.5)


def test_robust_forest_of_an_add_only_study():
    claims = verdicts_on(frames(small(fractions=[1.0], attack="evasion_add")), None, "6")
    assert of(claims, "6")["forest_low"].verdict == "holds"


@pytest.mark.parametrize(
    ("attack", "others"), [("poisoning", {"2a", "2b", "3b", "6", "7b"}), ("evasion_add", {"5a"}), ("evasion", {"5a", "6"})]
)
def test_claims_on_other_attacks_are_not_made(attack, others):
    numbers = {c.claim for c in evaluate(frames(small(seeds=range(2), fractions=[1.0], attack=attack)))}
    assert numbers
    assert not others & numbers


def test_whole_slices_that_are_missing_are_named_as_one():
    items = [x for x in small() if not (x["params"]["surrogate"] == "mlp_low" and x["params"]["seed"] == 3)]
    assert "missing: surrogate=mlp_low, seed=3 (8 combinations)" in frames(items).gaps


def test_failed_seed_and_single_failures_are_named():
    items = small(seeds=range(3), fractions=[1.0])
    failed = {i: "FAILED" for i, x in enumerate(items) if x["params"]["seed"] == 1} | {2: "KILLED"}
    found = frames(items, status=failed)
    assert len(found.runs) == 16 * 2 - 1
    assert any("seed=1 (16 combinations)" in gap for gap in found.gaps)
    first = "surrogate=svm_high, target=svm_high, seed=2"  # the one fraction goes without saying
    assert any(gap.endswith(first) and "killed" in gap for gap in found.gaps)


def test_surrogate_that_never_ran_is_named():
    items = [x for x in small() if x["params"]["surrogate"] != "svm_low"]
    found = frames(items)
    assert "no run has surrogate=svm_low" in found.gaps  # which is a target with gradients
    assert of(paired(found), "2a")["svm"].reason == "no run has SVM L as surrogate"


def test_newest_finished_run_of_a_combination_counts():
    old, new, failed = (combination("svm_high", "svm_low", 1.0, 0) for _ in range(3))
    for value, item in enumerate((old, new, failed)):
        item["metrics"]["clean_error"] = value
    assert frames([old, new, failed], status={2: "FAILED"}).runs["clean_error"].tolist() == [1]


def test_settings_that_changed_on_the_way_are_named():
    items = small(seeds=range(2), fractions=[1.0])
    items[0]["params"]["n_test"] = 7
    items[1]["params"]["surrogate.C"] = 99
    found = frames(items).gaps
    assert "n_test is not the same in all runs: 1000, 7" in found
    assert "surrogate.C 99 was done with seed 1 alone, of 2 in the study; it is shown apart" in found
    assert not gaps.disagreements(frames(small(seeds=range(2))).runs)


def test_ratio_with_a_white_box_error_of_zero_is_undefined_not_infinite():
    items = small(seeds=range(2), fractions=[1.0])
    for item in items:
        item["curve"]["whitebox_error"] = 0.0
    found = frames(items)
    assert tables.pairs(found)["error_ratio"].isna().all()
    assert {c.verdict for c in of(evaluate(found), "4b").values()} == {"not tested"}


def test_curves_with_other_columns_or_line_ends_are_read_alike():
    one, two = (combination("svm_high", "svm_low", 1.0, seed)["curve"] for seed in range(2))
    windows = one.to_csv(index=False).replace("\n", "\r\n").encode()
    fewer = two.drop(columns=["loss"]).to_csv(index=False).encode()
    found = curves_frame({"a": windows, "b": fewer})
    assert len(found) == 22
    assert found.loc[found["run_id"] == "a", "error"].tolist() == pytest.approx(one["error"].tolist())
    assert found.loc[found["run_id"] == "b", "loss"].isna().all()


def test_a_runs_row_has_its_measures_as_numbers_its_versions_as_words_and_no_series():
    about = RunInfo("r", "0", "u", "FINISHED", 1, 2, "active")
    metrics = [Metric(name, 0.5, 0, 0) for name in ("clean_error", "curve/error", "system/cpu_percent")]
    params = [Param("seed", "3"), Param("surrogate_fraction", "1.0"), Param("dataset", "1e3")]
    tags = [RunTag("version/torch", "2.10"), RunTag("git_commit", "1e5"), RunTag("mlflow.user", "someone")]
    row = runs_frame([Run(about, RunData(metrics, params, tags))]).iloc[0]
    assert (row["clean_error"], row["seed"], row["surrogate_fraction"]) == (0.5, 3, 1.0)
    assert (row["version/torch"], row["git_commit"], row["dataset"]) == ("2.10", "1e5", "1e3")
    assert not {"curve/error", "system/cpu_percent", "mlflow.user"} & set(row.index)


def test_one_run_alone_reports_without_tests(study):
    alone = frames([combination("svm_high", "forest_low", 1.0, 0)])
    found = evaluate(alone, Numbers.of(alone))
    assert {c.verdict for c in found} == {"not tested"}
    assert all(c.reason for c in found)
    assert math.isnan(found[0].p_value)


def test_two_curves_of_one_combination_are_refused(study):
    twice = pd.concat([study.curves, study.curves.tail(1)])[["run_id", "epsilon", "error"]]
    with pytest.raises(UserError, match="one curve a combination"):
        assemble(name="twice", every=study.runs, curves=twice)


def test_strengths_that_are_one_after_rounding_are_refused_in_one_line():
    item = combination("svm_high", "svm_low", 1.0, 0)
    item["curve"].loc[3, "epsilon"] = 1 + 1e-10
    with pytest.raises(UserError, match=r"surrogate=svm_high, target=svm_low.*epsilon=1\.0; round the grid") as refused:
        frames([item])
    assert "\n" not in str(refused.value)


def test_two_rows_of_a_key_are_refused(study):
    rows = tables.at(study, 1.0)
    assert len(tables.indexed(rows, ["surrogate", "target", "seed"])) == len(rows)
    with pytest.raises(ValueError, match="expected one row for each surrogate, target"):
        tables.indexed(rows, ["surrogate", "target"])


def test_bands_and_bars_are_intervals_of_the_mean_over_seeds(study):
    curve = study.curves[(study.curves["target"] == "svm_high") & (study.curves["epsilon"] == 1)]
    low, high = stats.mean_interval(curve.groupby("seed")["whitebox_error"].mean().to_numpy())
    drawn = tables.whitebox_curves(study).set_index(["learner", "epsilon"]).loc[("svm_high", 1.0)]
    assert (drawn["mean"] - drawn["spread"], drawn["mean"] + drawn["spread"]) == pytest.approx((low, high))
    size = tables.at_reference(study).query("surrogate == 'svm_low'").groupby("seed")["perturbation_l1"].mean()
    low, high = stats.mean_interval(size.to_numpy())
    bar = tables.sizes(study).query("learner == 'svm_low' and norm == 'l1'").iloc[0]
    assert (bar["mean"] - bar["spread"], bar["mean"] + bar["spread"]) == pytest.approx((low, high))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_nouns_after_a_number(number):
    s = "" if number == 1 else "s"
    assert counted(number, "seed") == f"{number} seed{s}"
    assert words.too_few(number, 5) == f"{number} repetition{s}; a verdict needs 5"
    tie = "is a tie" if number == 1 else "are ties"
    verb = "differs" if number == 1 else "differ"
    found = stats.SignTest(wins=number, losses=0, ties=number, p_value=1.0)
    assert words.too_few_differ(found) == f"{number} repetition{s} {verb}, {number} {tie}; p < 0.05 needs 6 that differ"
    study = frames([combination("svm_high", "svm_low", 1.0, 0, attack="evasion_add")])
    assert words.strength(study, number) == f"{number} added feature{s}"
