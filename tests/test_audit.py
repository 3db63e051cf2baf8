"""The statements of an audit, where the truth is known: by hand on small tables, and in a world of two halves."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import planted_study
import pytest
from audit_world import Half, audited, fake_run

from transfer_exp import stats
from transfer_exp.learners.predictor import Predictor
from transfer_exp.report import audit, audit_beside, audit_tables, audit_words, drawing
from transfer_exp.report.audit_page import is_audit, part_told, write_audit
from transfer_exp.report.audit_points import OfRun, Points

NAN = math.nan


# --- who is the strongest is not chosen on what it is judged by ---


def test_the_luck_of_a_seed_does_not_choose():
    """Two surrogates, each lucky in one of two seeds: chosen on the other seed, neither is."""
    values = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert audit.strongest_on_others(values).tolist() == [1, 0]


def test_the_strongest_is_chosen_by_the_mean_of_the_others():
    values = np.array([[0.0, 0.5], [0.9, 0.5], [0.2, 0.5]])
    # Without the first: 0.55 and 0.5; without the second: 0.1 and 0.5; without the third: 0.45 and 0.5.
    assert audit.strongest_on_others(values).tolist() == [0, 1, 1]


def test_what_is_not_there_is_not_chosen():
    assert audit.strongest_on_others(np.array([[0.2, NAN], [0.1, 0.9], [0.1, 0.9]])).tolist() == [0, 1, 1]


def test_halves_of_the_points_choose_for_each_other():
    values = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    half = np.array([0, 0, 1, 1])
    assert audit.strongest_on_other_half(values, half).tolist() == [1, 1, 0, 0]


def test_a_choice_among_equals_gains_nothing():
    """Twenty surrogates that are all as good: the best of them looks better than it is, the chosen one does not."""
    random = np.random.default_rng(0)
    honest, optimistic = [], []
    for _ in range(200):
        values = 0.3 + 0.1 * random.normal(size=(6, 20))
        honest.append(values[np.arange(6), audit.strongest_on_others(values)].mean())
        optimistic.append(values.max(axis=1).mean())
    assert abs(np.mean(honest) - 0.3) < 4 * 0.1 / math.sqrt(200)  # the spread of a mean of 6 values, of 200 of them
    assert np.mean(optimistic) > 0.45


# --- intervals, strengths ---


@pytest.mark.parametrize(("share", "n"), [(0.0, 10), (0.3, 50), (1.0, 20)])
def test_wilson_bounds_are_where_the_score_test_just_rejects(share, n):
    for bound in audit.wilson(share, n):
        if 0 < bound < 1:
            assert abs(share - bound) / math.sqrt(bound * (1 - bound) / n) == pytest.approx(1.959964)
    assert audit.wilson(0.0, 10)[0] == 0.0


@pytest.mark.parametrize(
    ("shares", "level", "expected"),
    [
        ([0, 0.1, 0.5], 0.1, 1.0),
        ([0, 0.1, 0.5], 0.3, 1.5),
        ([0, 0.2, 0.1], 0.15, 0.75),
        ([0.3, 0.4, 0.5], 0.1, 0.0),
        ([0, 0.1, 0.4], 0.5, NAN),
        ([0, NAN, 0.9], 0.5, NAN),
    ],
)
def test_the_strength_at_which_a_share_falls(shares, level, expected):
    found = audit.reached(np.array([0.0, 1.0, 2.0]), np.array(shares), level)
    assert found == pytest.approx(expected, nan_ok=True)


# --- planted studies: by seed ---


def planted(plant, fractions=(1.0,)):
    return planted_study.study(plant, seeds=6, fractions=fractions)


def of(every, target):
    return next(one for one in every if one.target == target)


def one_family(rows: pd.DataFrame) -> None:
    """Only SVMs reach the targets, and noise does nothing."""
    reach = np.where(rows["surrogate"].str.startswith("svm"), 0.2 * rows["epsilon"], 0.0)
    rows["error"] = 0.05 + reach + 0.001 * rows["seed"]
    rows["success"], rows["noise_error"] = reach, 0.05


def test_a_target_that_falls_to_one_family_alone():
    study = planted(one_family)
    one = of(audit.exposures(study, Points()), "ridge_low")
    assert one.unit == "seed"
    assert one.error == pytest.approx(0.05 + 0.2 * one.epsilons + 0.0025)
    assert set(one.chosen[1:]) <= {"svm_low", "svm_high"}
    table = audit_tables.surrogates(study, Points(), one)
    assert set(table["surrogate"][:2]) == {"svm_low", "svm_high"}
    assert table["above_noise"][:2].to_list() == pytest.approx([0.2025, 0.2025])
    assert table["above_noise"][2:].to_list() == pytest.approx([0.0025] * 5)
    assert table["strongest"].to_list() == pytest.approx([0.5, 0.5, 0, 0, 0, 0, 0])
    assert audit_tables.thresholds(one)["transfer"].to_list() == pytest.approx([0.5, 2.5])
    assert one.interval(1) == pytest.approx(stats.mean_interval(0.25 + 0.001 * np.arange(6)))


def test_a_target_that_is_its_surrogate_is_reached_as_with_full_access():
    def plant(rows):
        one_family(rows)
        rows["whitebox_error"] = rows["whitebox_success"] = 0.0
        rows["whitebox_error"] = 0.05 + 0.2 * rows["epsilon"] + 0.001 * rows["seed"]
        rows["whitebox_success"] = 0.2 * rows["epsilon"]

    one = of(audit.exposures(planted(plant), Points()), "svm_low")
    assert one.error == pytest.approx(one.white)
    found = audit_tables.thresholds(one)
    assert found["transfer"].to_list() == pytest.approx(found["white_box"].to_list())


def test_an_attack_whose_interval_reaches_the_noise_asks_for_repetitions():
    def plant(rows):
        rows["clean_error"], rows["noise_error"] = 0.0, 0.1
        rows["error"] = 0.12 + 0.2 * (rows["seed"] % 2)  # 22% in the mean, far apart
        rows["success"] = rows["error"]

    study = planted(plant)
    one = of(audit.exposures(study, Points()), "forest_low")
    table, data = audit_tables.surrogates(study, Points(), one), audit_tables.shares(study, one)
    assert "take more repetitions" in audit_words.advice(study, one, table, data)[0]


def test_a_constant_target_never_falls():
    def plant(rows):
        rows["error"] = rows["noise_error"] = rows["clean_error"] = 0.5
        rows["success"] = 0.0

    study = planted(plant)
    one = of(audit.exposures(study, Points()), "forest_low")
    assert one.error == pytest.approx(0.5)
    assert audit_tables.thresholds(one)["transfer"].isna().all()
    table, data = audit_tables.surrogates(study, Points(), one), audit_tables.shares(study, one)
    assert "no attack does more than random noise" in audit_words.advice(study, one, table, data)[0]
    why = audit_words.why(study, one, table)
    assert [line for line in why if line.startswith("S,") and "unknown" in line]
    assert [line for line in why if line.startswith("R,") and "unknown" in line]
    assert "what full access would add is unknown" in audit_words.sentence(study, one)


def test_less_data_costs_what_was_planted():
    def plant(rows):
        one_family(rows)
        rows.loc[rows["surrogate_fraction"] < 1, "error"] -= 0.1

    study = planted(plant, fractions=(1.0, 0.2))
    one = of(audit.exposures(study, Points()), "ridge_low")
    table = audit_tables.shares(study, one)
    assert table["share"].to_list() == [1.0, 0.2]
    assert table["strongest"].to_list() == pytest.approx([0.2525, 0.1525])
    assert table["less"].to_list() == pytest.approx([NAN, 0.1], nan_ok=True)
    assert (table["low"][1], table["high"][1]) == pytest.approx((0.1, 0.1))
    lines = audit_words.advice(study, one, audit_tables.surrogates(study, Points(), one), table)
    assert [line for line in lines if "Keeping data from attackers helps" in line and "10%" in line]


def test_a_target_that_noise_misleads_is_called_so():
    def plant(rows):
        one_family(rows)
        rows["noise_error"] = 0.9

    study = planted(plant)
    one = of(audit.exposures(study, Points()), "ridge_low")
    lines = audit_words.advice(study, one, audit_tables.surrogates(study, Points(), one), audit_tables.shares(study, one))
    assert lines[0].startswith("Random noise does more than any attack: it makes the model wrong on 90%")


def test_a_noise_robust_target_is_said_to_fall_to_attacks_alone():
    study = planted(one_family)  # noise leaves the error at 5%
    one = of(audit.exposures(study, Points()), "ridge_low")
    assert "under random noise of that size on 5.0%" in audit_words.sentence(study, one)
    lines = audit_words.advice(study, one, audit_tables.surrogates(study, Points(), one), audit_tables.shares(study, one))
    assert not [line for line in lines if "noise" in line]


def test_intervals_of_shares_stay_between_0_and_1():
    low, high = audit.interval(np.array([0.0, 0.0, 0.3]), "seed")
    assert (low, high) == (0.0, pytest.approx(stats.mean_interval(np.array([0.0, 0.0, 0.3]))[1])) or high == 1.0
    assert all(math.isnan(bound) for bound in audit.interval(np.array([0.1, 0.2]), "seed"))


def test_two_targets_are_compared_seed_by_seed():
    def plant(rows):
        one_family(rows)
        rows.loc[rows["target"] == "ridge_high", "error"] += 0.1

    every = [one for one in audit.exposures(planted(plant), Points()) if one.target in ("ridge_high", "ridge_low")]
    table = audit_tables.comparison(every)
    sign = 1 if every[0].target == "ridge_high" else -1
    assert table["difference"].to_list() == pytest.approx([0.1 * sign] * 4)
    assert table["p_value"].to_list() == pytest.approx([2**-5] * 4)  # six seeds of six, two-sided
    assert table["p_holm"].to_list() == pytest.approx([4 * 2**-5] * 4)
    assert set(table["unit"]) == {"seed"}


# --- by point ---


def of_run(surrogate, seed, rows, wrong, *, target="t", clean=None):
    n = len(rows)
    classes = np.zeros(n, dtype=int)
    arrays = {
        "rows": np.array(rows),
        "classes": classes,
        "epsilon": np.array([0.0, 1.0]),
        "clean": classes if clean is None else np.array(clean),
        "black_box": np.stack([classes if clean is None else np.array(clean), np.array(wrong)]),
        "noise": np.zeros((2, n)),
    }
    return OfRun(surrogate=surrogate, target=target, seed=seed, arrays=arrays)


def test_a_points_error_is_its_mean_over_the_seeds_that_show_it():
    runs = [of_run("a", 0, [3, 5], [1, 0]), of_run("a", 1, [5, 9], [1, 1]), of_run("b", 0, [3, 5], [0, 0])]
    found = audit.by_point(runs, ["a", "b"], np.array([3, 5, 9]))
    assert found[1, :, 0].tolist() == [1.0, 0.5, 1.0]
    assert found[1, :, 1].tolist() == pytest.approx([0.0, 0.0, NAN], nan_ok=True)
    assert (found[0, :2] == 0).all()


def test_what_stands_beside_an_error_is_a_mean_over_the_same_points():
    runs = [of_run("a", 0, [3, 5], [1, 0], clean=[0, 1]), of_run("a", 1, [5, 9], [1, 1], clean=[1, 0])]
    for run, noise in zip(runs, ([[0, 1], [0, 0.5]], [[1, 0], [1, 0.6]]), strict=True):
        run.arrays["noise"] = np.array(noise)
    noise, clean = audit_beside.beside(runs)
    assert clean == pytest.approx(1 / 3)  # row 5, which both seeds show, is one of three points
    assert noise == pytest.approx([1 / 3, (0 + 0.75 + 0.6) / 3])


def test_the_white_box_is_a_mean_over_the_same_points_and_never_below_a_black_box():
    runs = [
        of_run("a", 0, [3, 5], [1, 1], clean=[0, 1]),
        of_run("b", 0, [3, 5], [0, 1], clean=[0, 1]),
        of_run("a", 1, [5, 9], [0, 0], clean=[0, 0]),
    ]
    for run, worst in zip(runs, ([[0, 1], [0, 1]], [[0, 1], [1, 1]], [[0, 0], [0, 1]]), strict=True):
        run.arrays["white_box"] = np.array(worst)
    error, fallen = audit_beside.white_box(runs)
    assert error == pytest.approx([(0 + 1 / 2 + 0) / 3, (1 + 1 / 2 + 1) / 3])  # rows 3, 5, 9; two seeds show row 5
    assert fallen == pytest.approx([0, (1 + 0 + 1) / 3])  # of row 5 the seed in which it was right
    del runs[1].arrays["white_box"]
    assert np.isnan(audit_beside.white_box(runs)).all()


def test_points_that_were_wrong_before_cannot_fall():
    found = audit.by_point([of_run("a", 0, [3, 5], [1, 1], clean=[0, 1])], ["a"], np.array([3, 5]), only_right=True)
    assert found[1, :, 0].tolist() == pytest.approx([1.0, NAN], nan_ok=True)


def test_the_first_to_fall_come_first():
    runs = [of_run("a", 0, [3, 5, 7], [1, 2, 0]), of_run("b", 0, [3, 5, 7], [0, 2, 0])]
    runs.append(of_run("a", 1, [3, 5, 9], [0, 1, 0], clean=[0, 1, 0]))  # row 5 is wrong before: it cannot fall here
    one = audit.Exposure(
        target="t", unit="point", given=True, epsilons=np.array([0.0, 1.0]), units=np.array([3, 5, 7]),
        values=np.zeros((3, 2)), fallen=np.zeros((3, 2)), chosen=["a", "a"], noise=np.zeros(2), white=np.zeros(2),
        white_fallen=np.zeros(2), clean=0.0,
    )  # fmt: skip
    table = audit_tables.first_to_fall(Points(runs=runs, class_names=["cat", "dog", "hen"]), one)
    assert table.to_dict("list") == {
        "row": [5, 3], "class": ["cat", "cat"], "taken_for": ["hen", "dog"], "epsilon": [1, 1], "by": [2, 1], "of": [2, 3],
    }  # fmt: skip
    unnamed = audit_tables.first_to_fall(Points(runs=runs), one)  # of runs that do not say what classes are called
    assert unnamed["taken_for"].to_list() == ["2", "1"]


# --- end to end ---


def nothing_but_zero(points):
    return np.zeros(len(points), dtype=int)


@pytest.fixture(scope="module")
def world(tmp_path_factory, empty_database):
    """A target of the first half, and a given one that always says 0; attackers of each half."""
    root = tmp_path_factory.mktemp("audit")
    shutil.copy(empty_database, root / "mlflow.db")
    zero = Predictor(name="zero", function=nothing_but_zero, gives="labels")
    surrogates = [Half(name="like_it", part=0), Half(name="unlike_it", part=1)]
    return audited(root, [Half(name="half", part=0), zero], surrogates)


def test_what_was_planted_is_found(world):
    study, points = world
    every = audit.exposures(study, points)
    assert {one.unit for one in every} == {"seed"}  # one target is trained, the other given
    half, zero = of(every, "half"), of(every, "zero")
    assert set(half.chosen[1:]) == {"like_it"}
    table = audit_tables.surrogates(study, points, half)
    assert table["surrogate"].to_list() == ["like_it", "unlike_it"]
    assert table["error"][0] > 0.9
    assert table["error"][1] == pytest.approx(half.clean)  # what moves in the other half, it does not see
    assert table["gradient_alignment"].to_list() == pytest.approx([0.95, 0.0], abs=0.05)
    assert (half.white >= half.error - 1e-12).all()
    assert half.noise[-1] < 0.3  # of that size, in a random direction of twenty
    assert zero.error == pytest.approx(0.5)
    assert zero.share_fallen == pytest.approx(0.0)
    assert not zero.has_white_box
    assert "training data may be among the attacker's" in audit_words.known_rows(study, zero)
    assert audit_words.known_rows(study, half) == ""
    assert not len(audit_tables.first_to_fall(points, zero))
    first = audit_tables.first_to_fall(points, half)
    assert set(zip(first["class"], first["taken_for"], strict=True)) <= {("left", "right"), ("right", "left")}
    assert len(first)


def test_of_a_given_target_alone_the_points_are_the_unit(world):
    study, points = world
    runs = study.runs[study.runs["target"] == "zero"]
    alone = replace(study, runs=runs, curves=study.curves[study.curves["target"] == "zero"])
    (zero,) = audit.exposures(alone, points)
    assert zero.unit == "point"
    shown = {row for run in points.of("zero") for row in run.arrays["rows"].tolist()}
    assert len(zero.units) == len(shown)
    wrong = {
        int(r): int(c) for run in points.of("zero") for r, c in zip(run.arrays["rows"], run.arrays["classes"], strict=True)
    }
    assert zero.error == pytest.approx(np.mean(list(wrong.values())))
    assert zero.clean == pytest.approx(zero.error[0], abs=1e-12)  # the same points, each counted once
    assert zero.noise == pytest.approx(zero.error, abs=1e-6)


def test_the_page_says_it_all(world, tmp_path):
    study, points = world
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    write_audit(tmp_path, study, points)
    text = (tmp_path / "audit.html").read_text()
    for part in ("How exposed is", "like_it", "unknown", "paired", "Which of them is safer?", "as they were asked for"):
        assert part.lower() in text.lower(), part
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", text.lower()))
    assert "http" not in text.replace("http-equiv", "")  # nothing is fetched
    assert {file.name for file in (tmp_path / "tables").iterdir()} >= {"audit_curve_half.csv", "audit_comparison.csv"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("[0, 0.05, 0.1, 0.15, 0.2]", "about 20 here: 0% (0), 5% (1), 10% (2), 15% (3), 20% (4)"),
        ("[0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2]", "(0%, 1%, 2%, 5%, 10%, 15%, 20%), in whole features: 0, 1, 2, 3, 4"),
        ("absent", "as they were asked for: 0, 1, 2, 3, 4"),
    ],
)
def test_how_strengths_were_chosen_is_said(asked, expected):
    study = planted(planted_study.nothing)
    assert expected in audit_words.strengths(replace(study, runs=study.runs.assign(**{"epsilon.shares": asked})))


def test_which_studies_are_audits(world):
    study, _ = world
    assert not is_audit(study)
    assert is_audit(replace(study, parents=(fake_run({"audit": "true"}),)))
    assert not is_audit(replace(study, scenario="poisoning", parents=(fake_run({"audit": "true"}),)))


def test_the_report_of_an_audit_draws_what_its_page_does_not(world):
    study, _ = world
    stems = [picture.stem for picture in drawing.of_audit(study)]
    shown = {f"error_matrix_eps{epsilon:g}_fraction{max(study.fractions):g}" for epsilon in study.epsilon_shown}
    assert len(stems) == len(set(stems))
    assert shown <= set(stems) <= shown | {"security_curves"}


def test_the_page_tells_of_the_sweep_that_was_typed_not_of_the_largest():
    old, new = planted(planted_study.nothing), planted_study.study(planted_study.nothing, seeds=3)
    old, new = (
        replace(one, runs=one.runs.assign(start_time=time, run_id=[f"{time}-{k}" for k in range(len(one.runs))]))
        for time, one in ((1, old), (2, new))
    )
    both = replace(old, gaps=("a gap",), others=(replace(new, is_first=False),))
    for runs in ((), ["2-0", "2-1"]):
        told = part_told(both, runs)
        assert told.runs is new.runs
        assert (told.gaps, [one.runs is old.runs for one in told.others]) == (("a gap",), [True])
    assert part_told(both, ["1-0"]) is both


def test_a_target_that_cannot_be_judged_is_named_and_no_page_is_not_silent(world, tmp_path, caplog):
    study, points = world
    for name in ("tables", "figures"):
        (tmp_path / name).mkdir()
    short = {"half": [0, 1, 2], "zero": [0]}  # by seed, as one target is trained: of the other there is no other seed
    runs, curves = (
        pd.concat([every[(every["target"] == target) & every["seed"].isin(seeds)] for target, seeds in short.items()])
        for every in (study.runs, study.curves)
    )
    write_audit(tmp_path, replace(study, runs=runs, curves=curves), points)
    assert "zero is left out: too little is known" in (tmp_path / "audit.html").read_text()
    (tmp_path / "audit.html").unlink()
    one_seed = replace(study, runs=runs[runs["seed"] == 0], curves=curves[curves["seed"] == 0])
    write_audit(tmp_path, one_seed, Points())  # nor is anything known of single points
    assert not (tmp_path / "audit.html").exists()
    assert "audit: no page" in caplog.text


def test_the_surrogate_that_misleads_most_is_not_called_so_beyond_its_interval():
    def scattered(rows):
        one_family(rows)
        rows["error"] += np.where(rows["surrogate"] == "svm_low", 0.3 * rows["seed"].mod(2), 0.0)

    lines = []
    for plant in (one_family, scattered):
        study = planted(plant)
        one = of(audit.exposures(study, Points()), "ridge_low")
        table = audit_tables.surrogates(study, Points(), one)
        lines.append(audit_words.advice(study, one, table, audit_tables.shares(study, one))[-1])
    assert all("though the intervals of others overlap" in line for line in lines)  # of two SVMs that are alike
    table = table.assign(low=[0.5] * len(table), high=[0.6] + [0.4] * (len(table) - 1))
    assert "beyond the others' intervals" in audit_words.advice(study, one, table, audit_tables.shares(study, one))[-1]


@pytest.mark.parametrize(("shared", "told"), [(0.3, True), (0.99, False)])
def test_v_of_training_sets_that_hardly_differ_is_not_told(shared, told):
    """As where the attacker has nearly all of the data."""

    def plant(rows):
        one_family(rows)
        rows["loss_variability_cross_entropy"] = 0.1

    study = planted(plant)
    study = replace(study, runs=study.runs.assign(**{"health/variability_overlap": shared}))
    one = of(audit.exposures(study, Points()), "ridge_low")
    table = audit_tables.surrogates(study, Points(), one)
    assert table["variability"].notna().any() == told
    assert any("share 99% of their points" in line for line in audit_words.why(study, one, table)) != told
