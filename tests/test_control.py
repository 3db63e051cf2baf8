"""The control in a report: a row of the matrices, a line in the curves, tables of what is above it; absent in old runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_study import SMALL, frames, grid, looks

from transfer_exp import figures
from transfer_exp.report import control, drawing, tables
from transfer_exp.report.study import Study

SEEDS = range(3)
TARGETS = ["svm_high", "forest_low"]


def items(*, noise: bool = True) -> list:
    """Error at epsilon 2 of 0.5 (svm) and 0.6 (forest), plus 0.01 a seed; noise of 0.1 and 0.4, plus 0.02 a seed."""
    made = grid(["svm_high", "svm_low"], TARGETS, [1.0], SEEDS)
    for item in made:
        item["curve"] = item["curve"][item["curve"]["epsilon"].isin([0, 1, 2, 5])].copy()
        forest, seed = item["params"]["target"].startswith("forest"), item["params"]["seed"]
        strength = item["curve"]["epsilon"] / 2
        item["curve"]["error"] = strength * ((0.6 if forest else 0.5) + 0.01 * seed)
        item["curve"]["noise_error"] = strength * ((0.4 if forest else 0.1) + 0.02 * seed) if noise else np.nan
        if not forest:
            item["curve"]["whitebox_error"] = strength * 0.9
        if not noise:
            item["curve"] = item["curve"].drop(columns="noise_error")
    return made


@pytest.fixture(scope="module")
def study() -> Study:
    return frames(items())


@pytest.fixture(scope="module")
def old() -> Study:
    return frames(items(noise=False))


def test_the_matrix_has_a_row_of_noise_below_means_that_do_not_count_it(study: Study, old: Study) -> None:
    table = control.error_table(study, 2.0)
    assert list(table.index) == ["svm_high", "svm_low", "mean", "noise"]
    assert table.loc["noise"].tolist() == pytest.approx([0.12, 0.42, 0.27])
    assert table.loc["mean"].tolist() == pytest.approx([0.51, 0.61, 0.56])
    pd.testing.assert_frame_equal(table.drop("noise"), control.error_table(old, 2.0))
    pd.testing.assert_frame_equal(table.drop("noise"), tables.with_means(tables.error_matrix(study, 2.0)))


def test_every_seed_counts_once_in_the_noise_however_many_surrogates_it_has() -> None:
    """Seeds 0 and 1 of the forest are met by one surrogate, seed 2 by two: 0.4, 0.42, 0.44 on average, not 0.425."""
    gaps = [x for x in items() if not (x["params"]["surrogate"] == "svm_low" and x["params"]["seed"] < 2)]
    assert control.error_table(frames(gaps), 2.0).loc["noise", "forest_low"] == pytest.approx(0.42)


def test_runs_with_and_without_a_control_mix() -> None:
    """The svm was run before there was one: its cell is empty, the row's mean is over what there is."""
    mixed = [x for x in items() if x["params"]["target"] == "forest_low"]
    mixed += [x for x in items(noise=False) if x["params"]["target"] == "svm_high"]
    noise = control.error_table(frames(mixed), 2.0).loc["noise"]
    assert np.isnan(noise["svm_high"])
    assert noise["mean"] == pytest.approx(0.42)


def test_what_is_above_noise_is_the_difference_over_the_same_pairs(study: Study) -> None:
    found = control.surrogates(study)
    assert sorted(found["epsilon"].unique()) == [1, 2, 5]
    row = found[(found["surrogate"] == "svm_low") & (found["epsilon"] == 2)].iloc[0]
    assert row[["error", "noise_error", "above_noise"]].tolist() == pytest.approx([0.56, 0.27, 0.29])
    # (0.55 - 0.25), (0.56 - 0.27), (0.57 - 0.29) of the three seeds
    # A standard deviation of 0.01 over three seeds; the table's 97.5% quantile of Student's t with one degree of freedom.
    assert (row["spread"], row["n"]) == (pytest.approx(12.706 * 0.01 / 3**0.5, rel=1e-4), 3)


def test_what_is_above_noise_of_each_target_by_either_attack(study: Study) -> None:
    found = control.targets(study).query("epsilon == 2").set_index(["attack", "target"])
    assert found["above_noise"].to_dict() == pytest.approx(
        {("white box", "svm_high"): 0.78, ("black box", "svm_high"): 0.39, ("black box", "forest_low"): 0.19}
    )


def test_the_curve_is_the_mean_of_the_targets_with_a_white_box_and_their_range() -> None:
    made = grid(["svm_low"], ["svm_high", "ridge_low", "forest_low"], [1.0], range(2))
    for item in made:
        level = {"svm_high": 0.1, "ridge_low": 0.3, "forest_low": 0.9}[item["params"]["target"]]
        item["curve"]["noise_error"] = level + 0.02 * item["params"]["seed"]
    row = control.curve(frames(made)).set_index("epsilon").loc[2.0]
    assert row.to_dict() == pytest.approx({"mean": 0.21, "low": 0.11, "high": 0.31})


def test_curves_of_poisoning_are_those_with_all_surrogate_data() -> None:
    """Noise and starting points are drawn from the attacker's data: with a part of it they are other ones."""
    made = grid(["svm_low"], ["svm_high"], [1.0, 0.2], range(3), attack="poisoning")
    for item in made:
        whole = item["params"]["surrogate_fraction"] == 1
        item["curve"]["noise_error"], item["curve"]["whitebox_error"] = (0.1, 0.5) if whole else (0.3, 0.9)
    study = frames(made)
    assert control.curve(study)[["mean", "low", "high"]].to_numpy() == pytest.approx(0.1)
    assert tables.whitebox_curves(study)["mean"].to_numpy() == pytest.approx(0.5)


def test_old_runs_have_no_row_no_line_and_empty_tables_with_headings(old: Study, study: Study) -> None:
    assert "noise" not in control.error_table(old, 2.0).index
    for of_role in (control.surrogates, control.targets):
        assert not len(of_role(old))
        assert list(of_role(old).columns) == list(of_role(study).columns)
    (without,), (with_line,) = (list(drawing.white_box(s)) for s in (old, study))
    assert "dotted" not in without.caption
    assert "random noise of the same size" in with_line.caption
    (plain,), (shown,) = (list(drawing.error_map(s, 2.0, 1.0)) for s in (old, study))
    assert "Noise" not in plain.caption
    assert "Noise: random noise of the same size" in shown.caption


def test_the_control_is_dotted_drawn_last_and_named_beside_its_line() -> None:
    data = pd.DataFrame({"learner": ["svm_low"] * 2, "epsilon": [0, 1], "mean": [0.1, 0.9], "spread": np.nan})
    noise = pd.DataFrame({"epsilon": [0, 1], "mean": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.4]})
    _, ax = figures.single()
    lines = figures.security_curves(data, ax, looks=looks(["svm_low"]), title="", xlabel="", ylabel="", control=noise)
    assert [line.get_label() for line in lines] == ["SVM L", "_noise"]  # so that the legend keeps its width
    assert [(text.get_text(), text.xy) for text in ax.texts] == [("noise", (1, 0.4))]
    assert lines[-1].get_linestyle() == ":"
    assert lines[-1].get_ydata().tolist() == [0.1, 0.2]
    _, ax = figures.single()
    assert (
        len(figures.security_curves(data, ax, looks=looks(["svm_low"]), title="", xlabel="", ylabel="", control=noise[:0]))
        == 1
    )


@pytest.mark.parametrize(
    ("attack", "words"),
    [("poisoning", "as many random points with flipped labels"), ("evasion_add", "as many random changes of features")],
)
def test_captions_say_what_the_control_is(attack: str, words: str) -> None:
    study = frames(grid(SMALL["surrogates"][:1], SMALL["targets"][:1], [1.0], [0], attack=attack))
    (picture,) = drawing.error_map(study, 2.0, 1.0)
    assert picture.caption.endswith(f"Noise: {words}.")


def test_the_screen_shows_it_last(study: Study) -> None:
    lines = tables.format_matrix(control.error_table(study, 2.0), title="", learners=study.learners).splitlines()
    assert lines[-2].split() == ["mean", "51%", "61%", "56%"]
    assert lines[-1].split() == ["noise", "12%", "42%", "27%"]


def test_each_share_of_the_surrogate_data_has_its_own_matrix_and_row() -> None:
    made = grid(["svm_low"], ["svm_high"], [1.0, 0.2], [0])
    for item in made:
        item["curve"]["error"], item["curve"]["noise_error"] = item["params"]["surrogate_fraction"], 0.1
        item["curve"]["noise_error"] += item["params"]["surrogate_fraction"] / 10  # poisoning draws from the attacker's part
    for fraction, noise in ((1.0, 0.2), (0.2, 0.12)):
        table = control.error_table(frames(made), 2.0, fraction)
        assert table["svm_high"].tolist() == pytest.approx([fraction, fraction, noise])
