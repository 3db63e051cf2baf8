"""Studies of many classes: the error of each, who is mistaken for whom, success and goals; two classes show none of it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from synthetic_study import CLASSES, grid, of_many_classes, write_store

from transfer_exp import confusions, stats
from transfer_exp.report import class_drawing
from transfer_exp.report.build import build_report
from transfer_exp.report.classes import class_errors, confusion_table, gathered, load_classes, mistakes
from transfer_exp.report.records import load
from transfer_exp.tracking.artifacts import CHECKSUMS, checksums

NAMES = ["cat", "'=dog", "horse, white", "snake", "ship", "car"]  # as a csv file has them
TARGETS = ["svm_high", "forest_low"]


def items(**params: object) -> list:
    made = of_many_classes(grid(["svm_high", "svm_low"], TARGETS, [1.0], range(3)))
    for item in made:
        item["params"] |= params
        item["curve"]["success"] = item["curve"]["error"] / 2
        item["curve"]["transfer_rate"] = item["curve"]["error"] / 3
        same = 0.1 * (item["params"]["seed"] + 1) + 0.2 * (item["params"]["target"] == "forest_low")
        shares = {"same_mistake": same, "other_mistake": 0.25, "unfooled": 0.75 - same}
        misled = item["curve"]["epsilon"] > 0
        for name, share in shares.items():
            item["curve"][name] = np.where(misled, share, np.nan)
        if params.get("attack.goal", "any") != "any":
            item["curve"]["targeted_success"] = item["curve"]["error"] / 4
            item["curve"]["whitebox_targeted_success"] = item["curve"]["whitebox_error"] / 4
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory, empty_database) -> Path:
    """A tracking store, to which tests add studies; one with goals, and one file that is damaged, to begin with."""
    folder = tmp_path_factory.mktemp("classes")
    shutil.copy(empty_database, folder / "mlflow.db")
    write_store(folder, "any", items(), images=False)
    write_store(folder, "goal", items(**{"attack.goal": "next"}), images=False)
    return folder


@pytest.fixture(scope="module")
def uri(folder) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def study(uri):
    return load(tracking_uri=uri, study="any")


@pytest.fixture(scope="module")
def classes(uri, study):
    found, notes = load_classes(tracking_uri=uri, study=study)
    assert notes == []
    return found


@pytest.fixture(scope="module")
def report(folder, uri, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    next((folder / "mlartifacts" / "goal").rglob("confusion.csv")).write_bytes(b"damaged")
    for name in ("any", "goal"):
        build_report(tracking_uri=uri, study=name, out=out / name, log_to_parent=False)
    return out


def test_class_errors_are_means_over_the_seeds_with_their_interval(classes, study):
    """Of class i and seed s, i + 1 + s of 40 points are mistaken under attack and 1 before."""
    table = class_errors(classes, study)
    assert table["target"].tolist() == ["svm_high"] * 6 + ["forest_low"] * 6
    assert table["class"].tolist() == NAMES * 2
    for place, row in table.iterrows():
        values = np.array([(place % 6 + 1 + seed) / 40 for seed in range(3)])
        assert (row["clean_error"], row["error"], row["n"]) == (pytest.approx(1 / 40), pytest.approx(values.mean()), 3)
        assert (row["low"], row["high"]) == pytest.approx(stats.mean_interval(values))


def test_who_is_mistaken_for_whom_is_a_mean_over_combinations(classes):
    table = confusion_table(classes).set_index(["role", "true", "predicted"])
    assert len(table) == 4 * 6 * 6
    # Three seeds of each of 2 x 2 pairs: 5, 6, 7 of 40 ships; surrogates twice as many.
    assert table.loc[("target", "ship", "car"), "share"] == pytest.approx(6 / 40)
    assert table.loc[("target", "ship", "car"), "count"] == 4 * (5 + 6 + 7)
    assert table.loc[("surrogate", "ship", "car"), "share"] == pytest.approx(12 / 40)
    assert table.loc[("target_clean", "ship", "ship"), "share"] == pytest.approx(39 / 40)
    assert table.loc[("target", "car", "ship"), "share"] == 0
    assert table.groupby(["role", "true"])["share"].sum().to_numpy() == pytest.approx(1)


def test_the_most_frequent_mistakes_come_first_without_the_right_answers(classes):
    table = mistakes(classes)
    assert (table["true"] != table["predicted"]).all()
    assert table.loc[0, ["true", "predicted"]].tolist() == ["car", "cat"]
    assert table.loc[0, ["target", "surrogate", "target_clean"]].tolist() == pytest.approx([7 / 40, 14 / 40, 1 / 40])
    assert table["target"].is_monotonic_decreasing


def test_combinations_count_once_however_many_points_they_attacked_and_classes_without_points_are_undefined():
    """One run of 10 cats, one of 1,000; no dogs in either (they are the goal)."""
    tables = [np.array([[5, 5, 0], [0, 0, 0], [0, 0, 1]]), np.array([[0, 0, 1000], [0, 0, 0], [0, 1, 0]])]
    made = confusions.Confusions
    runs = [(f"r{i}", made(class_names=("cat", "dog", "car"), counts=dict.fromkeys(confusions.ROLES, t))) for i, t in
            enumerate(tables)]  # fmt: skip
    about = pd.DataFrame({"run_id": ["r0", "r1"], "surrogate": "a", "target": "b", "seed": [0, 1]})
    found = gathered(about, runs)
    assert found.shares["target"][0].tolist() == [0.25, 0.25, 0.5]
    assert np.isnan(found.shares["target"][1]).all()
    assert found.errors.pivot(index="run_id", columns="class", values="error").loc["r1", "car"] == 1
    assert "dog" not in set(mistakes(found)["true"])


def test_two_classes_and_no_run_have_no_classes():
    about = pd.DataFrame({"run_id": ["r0"], "surrogate": "a", "target": "b", "seed": [0]})
    two = confusions.Confusions(class_names=("a", "b"), counts=dict.fromkeys(confusions.ROLES, np.eye(2, dtype=int)))
    assert gathered(about, [("r0", two)]) is None
    assert gathered(about, []) is None


def test_the_report_has_its_figures_tables_and_section(report):
    html = (report / "any" / "report.html").read_text()
    assert '<section id="classes">' in html
    for stem in ("success_matrix_eps1", "class_error", "class_clean_error", "confusion_target", "confusion_surrogate"):
        assert (report / "any" / "figures" / f"{stem}.png").is_file(), stem
        assert f'id="{stem}"' in html
    assert "targeted" not in html
    tables = report / "any" / "tables"
    matrix = pd.read_csv(tables / "success_matrix_eps1.csv", index_col="surrogate")
    errors = pd.read_csv(tables / "error_matrix_eps1_fraction1.csv", index_col="surrogate")
    assert matrix.loc["svm_low", "svm_high"] == pytest.approx(errors.loc["svm_low", "svm_high"] / 2)
    rates = pd.read_csv(tables / "transfer_rate_matrix_eps1.csv", index_col="surrogate")
    assert rates.loc["svm_low", "svm_high"] == pytest.approx(errors.loc["svm_low", "svm_high"] / 3)
    assert "Transfer rate: error on the points that surrogate and target had right before, in % at epsilon 1." in html
    assert len(pd.read_csv(tables / "class_errors.csv")) == 12
    assert len(pd.read_csv(tables / "confusion.csv")) == 144
    with (tables / "mistakes.csv").open() as file:
        assert next(csv.reader(file)) == ["true", "predicted", *confusions.ROLES]


def test_kinds_of_mistakes_are_means_over_pairs_and_seeds(report):
    """Of seed s, 0.1 (s + 1) of the points are the same mistake of one target and 0.2 more of the other."""
    table = pd.read_csv(report / "any" / "tables" / "kinds_of_mistakes.csv")
    assert table["epsilon"].min() > 0  # where nothing is misled there is nothing to tell
    at = table[table["epsilon"] == 1].set_index("kind")
    seeds = np.array([0.2, 0.3, 0.4])
    assert at["mean"].to_dict() == pytest.approx({"same mistake": 0.3, "another mistake": 0.25, "right": 0.45})
    assert (at.loc["same mistake", "low"], at.loc["same mistake", "high"]) == pytest.approx(stats.mean_interval(seeds))
    assert set(table["n"]) == {3}
    matrix = pd.read_csv(report / "any" / "tables" / "same_mistake_matrix_eps1.csv", index_col="surrogate")
    assert matrix.loc["svm_low"].to_dict() == pytest.approx({"svm_high": 0.2, "forest_low": 0.4, "mean": 0.3})
    html = (report / "any" / "report.html").read_text()
    assert html.count('id="kinds_of_mistakes"') == 1
    assert "What the targets say of the points that mislead the surrogate; mean over the pairs" in html


def test_a_goal_adds_targeted_success_and_is_named(report):
    html = (report / "goal" / "report.html").read_text()
    assert "Goal: next." in html
    matrix = pd.read_csv(report / "goal" / "tables" / "targeted_success_matrix_eps1.csv", index_col="surrogate")
    errors = pd.read_csv(report / "goal" / "tables" / "error_matrix_eps1_fraction1.csv", index_col="surrogate")
    assert matrix.loc["svm_low", "svm_high"] == pytest.approx(errors.loc["svm_low", "svm_high"] / 4)
    targets = pd.read_csv(report / "goal" / "tables" / "targets.csv", index_col="target")
    assert targets.loc["svm_high", "whitebox_targeted_success"] == pytest.approx(
        targets.loc["svm_high", "whitebox_error"] / 4
    )
    assert (report / "goal" / "figures" / "targeted_success_matrix_eps1.svg").is_file()


def test_a_damaged_file_is_a_gap_of_the_study(report):
    gaps = {name: json.loads((report / name / "claims.json").read_text())["gaps"] for name in ("any", "goal")}
    assert [len([gap for gap in gaps[name] if "confusion.csv" in gap]) for name in ("any", "goal")] == [0, 1]


def test_two_classes_show_nothing_of_it(folder, uri, tmp_path):
    made = grid(["svm_high", "svm_low"], TARGETS, [1.0], range(2))
    write_store(folder, "two", made, images=False)
    out = build_report(tracking_uri=uri, study="two", out=tmp_path / "out", log_to_parent=False).parent
    html = (out / "report.html").read_text()
    body = html.partition("<body>")[2]
    for words in ("three classes or more", "separated classes of small spread"):  # of claims, and what they would take
        body = body.replace(words, "")
    assert "classes" not in body
    written = {file.stem for file in out.rglob("*.*")}
    assert not [
        stem
        for stem in written
        if stem.startswith(("class", "confusion", "kinds", "mistakes", "same", "success", "targeted"))
    ]


def test_goals_and_classes_are_factors_and_where_takes_them(folder, uri):
    made = [*items(), *items(**{"attack.goal": "next"})]
    write_store(folder, "both", made, images=False)
    study = load(tracking_uri=uri, study="both")
    assert [each.settings for each in (study, *study.others)] == [{"attack.goal": "next"}, {"attack.goal": "any"}]
    assert load(tracking_uri=uri, study="both", where={"attack.goal": "any"}).goal == "any"


def test_damaged_files_are_named_and_the_others_count(folder, uri):
    write_store(folder, "lossy", items(), images=False)
    study = load(tracking_uri=uri, study="lossy")
    gone, cut, changed = sorted((folder / "mlartifacts" / "lossy").rglob("confusion.csv"))[-3:]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-4])
    changed.write_bytes(changed.read_bytes().replace(b"cat,cat", b"cat,car", 1))
    classes, notes = load_classes(tracking_uri=uri, study=study)
    logged = "expected the file that was logged, with checksum"
    for file, said in ((gone, "expected a file, got none"), (cut, logged), (changed, logged)):
        assert [note for note in notes if note.startswith(f"left out: {file}: {said}")]
    assert len(notes) == 3
    assert classes.counts["target"].sum() == 9 * 6 * 40


def test_files_of_other_classes_or_without_a_role_are_left_out(folder, uri):
    write_store(folder, "mixed", items(), images=False)
    study = load(tracking_uri=uri, study="mixed")
    client, last = MlflowClient(uri), list(study.runs.sort_values("start_time")["run_id"])[-3:]
    contents = (
        confusions.to_csv(dict.fromkeys(confusions.ROLES, np.eye(3, dtype=int)), "abc"),
        confusions.to_csv({"target": np.eye(6, dtype=int)}, CLASSES),
        b"nothing of the kind",
    )
    for run_id, content in zip(last, contents, strict=True):  # as if they had been logged so
        next(folder.rglob(f"{run_id}/artifacts/confusion.csv")).write_bytes(content)
        client.set_tag(run_id, CHECKSUMS, checksums({"confusion.csv": content}))
    classes, notes = load_classes(tracking_uri=uri, study=study)
    assert len(notes) == 3
    for said in ("expected the classes cat, '=dog", "expected the roles", "expected whole rows"):
        assert [note for note in notes if said in note]
    assert classes.names == tuple(NAMES)


def test_more_classes_than_a_figure_has_room_for_are_tables_alone(classes, study, monkeypatch):
    monkeypatch.setattr("transfer_exp.report.classes.MOST_DRAWN", 5)
    assert {picture.stem for picture in class_drawing.pictures(study, classes)} == {
        *(f"{name}_matrix_eps{k}" for name in ("success", "transfer_rate", "same_mistake") for k in (1, 2, 5)),
        "kinds_of_mistakes",
    }


def test_no_title_of_a_matrix_is_cut(classes, study):
    narrow = replace(study, goal="next", curves=study.curves.assign(targeted_success=0.5))
    for picture in class_drawing.pictures(narrow, classes):
        picture.figure.draw_without_rendering()
        box, frame = picture.figure.axes[0].title.get_window_extent(), picture.figure.bbox
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, picture.stem
