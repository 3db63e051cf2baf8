"""A measure beside the suite's, registered here or described by the runs, is in files, tables and figures as all are."""

from __future__ import annotations

import json
import math
import shutil

import pandas as pd
import pytest
from synthetic_study import frames, grid, write_store

from transfer_exp.measures import registry
from transfer_exp.measures.registry import MEASURES, Measure
from transfer_exp.report import correlations, drawing, tables
from transfer_exp.report.build import build_report
from transfer_exp.report.headings import heading
from transfer_exp.report.records import load
from transfer_exp.report.study import Study
from transfer_exp.tracking.measured import recorded_measures

PLANTED = {
    measure.name: measure
    for measure in (
        Measure(name="curvature", heading="curvature of the loss", of="surrogate", symbol="K"),
        Measure(name="sharpness", heading="sharpness", of="target", is_curve=True),
        Measure(name="overlap", heading="overlap of the gradients' largest entries", of="pair", label="overlap"),
    )
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch) -> None:
    for name, measure in PLANTED.items():
        monkeypatch.setitem(MEASURES, name, measure)


def items(*, seeds: int = 2) -> list:
    """curvature: twice V; sharpness: the white-box error less 1; overlap: 1 less R. At the third epsilon, the reference."""
    made = grid(["svm_high", "svm_low", "mlp_low"], ["svm_high", "svm_low", "mlp_low"], [1.0], range(seeds))
    for item in made:
        metrics = item["metrics"]
        metrics["curvature"] = 2 * metrics["loss_variability"]
        metrics["overlap"] = 1 - metrics["gradient_alignment"]
        metrics["unheard_of"] = 7.0
        item["curve"]["sharpness"] = item["curve"]["whitebox_error"] - 1
    return made


@pytest.mark.slow
def test_it_is_in_the_files_the_tables_and_on_the_page(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = write_store(tmp_path, "mine", items(), images=False)
    out = build_report(tracking_uri=uri, study="mine", out=tmp_path / "out", log_to_parent=False).parent
    runs, curves = pd.read_csv(out / "runs.csv"), pd.read_csv(out / "curves.csv")
    assert runs["curvature"].to_numpy() == pytest.approx(2 * runs["loss_variability"].to_numpy())
    assert curves["sharpness"].to_numpy() == pytest.approx(curves["whitebox_error"].to_numpy() - 1)
    assert set(runs["unheard_of"]) == {7}  # in no table, but there
    read = {stem: pd.read_csv(out / "tables" / f"{stem}.csv") for stem in ("surrogates", "targets", "pairs")}
    for stem, column, expected in (
        ("surrogates", "curvature", 2 * read["surrogates"]["loss_variability"]),
        ("targets", "sharpness", read["targets"]["whitebox_error"] - 1),
        ("pairs", "overlap", 1 - read["pairs"]["gradient_alignment"]),
    ):
        assert read[stem][column].to_numpy() == pytest.approx(expected.to_numpy())
        assert sum(column in table for table in read.values()) == 1
        assert not any("unheard_of" in table for table in read.values())
    html = (out / "report.html").read_text()
    for name in ("K, curvature of the loss", "sharpness", "overlap"):
        assert f'<th scope="col">{name}</th>' in html
    for stem in ("curvature_vs_mean_transfer", "sharpness_vs_mean_transferred_error", "overlap_vs_error"):
        assert f'id="{stem}"' in html
        assert (out / "figures" / f"{stem}.png").is_file()


def test_it_is_drawn_against_transfer_point_by_point():
    study = frames(items())
    drawn = {p.stem: p.figure.axes[0] for p in drawing.pictures(study, correlations.correlations(study), [])}
    ax = drawn["curvature_vs_mean_transfer"]
    table = tables.learners_table(study, "surrogate").set_index("surrogate")
    points = {line.get_label(): (line.get_xdata().item(), line.get_ydata().item()) for line in ax.get_lines()}
    assert points == {study.learners.label(name): (row["curvature"], row["mean_transfer"]) for name, row in table.iterrows()}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("K, curvature of the loss", "mean error of targets")
    assert len(drawn["overlap_vs_error"].get_lines()) == 3  # one a surrogate, three targets each
    assert drawn["overlap_vs_error"].get_title().startswith("Pearson ")


def test_it_is_correlated_with_what_it_explains(monkeypatch):
    own = MEASURES["curvature"]
    monkeypatch.setitem(
        MEASURES, "curvature", Measure(name=own.name, heading=own.heading, of=own.of, explains=("surrogate_error",))
    )
    rows = correlations.correlations(frames(items())).set_index(["x", "y", "kind"])
    surrogate = tables.learners_table(frames(items()), "surrogate")
    expected = surrogate["curvature"].corr(surrogate["surrogate_error"])
    assert rows.loc[("curvature", "surrogate_error", "pearson"), "value"] == pytest.approx(expected)
    assert ("overlap", "error", "kendall") in rows.index
    assert ("sharpness", "mean_transferred_error", "pearson") in rows.index


def test_a_study_whose_runs_have_not_recorded_it_shows_it_nowhere():
    study = frames(grid(["svm_high", "svm_low"], ["svm_high"], [1.0], range(2)))
    stems = {picture.stem for picture in drawing.pictures(study, correlations.correlations(study), [])}
    assert not [stem for stem in stems if stem.startswith(tuple(PLANTED))]
    assert tables.learners_table(study, "surrogate")["curvature"].isna().all()  # which the page leaves out


def test_every_measure_explains_columns_that_its_table_has():
    study = frames(items(seeds=1))
    for measure in MEASURES.values():
        table = tables.pairs(study) if measure.of == "pair" else tables.learners_table(study, measure.of)
        assert {measure.name, *tables.explained(measure)} <= set(table), measure.name
        assert heading(measure.name) == measure.title != ""


def described(item: dict, name: str, value: float, **told: object) -> dict:
    """The run with a measure of the user's own, as its record says it."""
    about = {"heading": "heat of the points", "of": "pair", "compute": {"_target_": "mine.heat"}, "digest": "1", **told}
    item["tags"][f"measure/{name}"] = json.dumps(about)
    item["metrics"][name] = value
    return item


def study_of(folder, empty_database, items: list) -> Study:
    shutil.copy(empty_database, folder / "mlflow.db")
    return load(tracking_uri=write_store(folder, "mine", items, images=False), study="mine")


def test_runs_tell_what_they_have_measured_and_lines_say_which_have_not(tmp_path, empty_database):
    made = grid(["svm_high", "svm_low"], ["svm_high"], [1.0], range(2))
    described(made[0], "heat", 3.0, symbol="H", explains=["error", "fame"])
    described(made[1], "heat", 4.0, symbol="H", explains=["error", "fame"], colour="red")
    study = study_of(tmp_path, empty_database, made)
    (measure,) = study.measures
    assert (measure.title, measure.of, measure.is_curve) == ("H, heat of the points", "pair", False)
    assert measure.explains == ("error",)  # a column that this state of the suite has not is left out
    assert [gap for gap in study.gaps if "measure" in gap] == [
        "measure heat: recorded by 2 of 4 combinations, and its means are over these; type the study's command with "
        "+measures.heat..."
    ]
    with registry.extended(study.measures):
        assert tables.pairs(study)["heat"].tolist() == [3.5, pytest.approx(math.nan, nan_ok=True)]
    assert "heat" not in MEASURES


def test_of_several_meanings_of_a_name_the_newest_counts(tmp_path, empty_database):
    made = grid(["svm_high"], ["svm_high"], [1.0], range(3))
    described(made[0], "heat", 3.0, compute={"_target_": "mine.heat", "share": 0.5})
    described(made[1], "heat", 4.0, heading="heat, as we said before")  # other words for the same
    described(made[2], "heat", 8.0)
    study = study_of(tmp_path, empty_database, made)
    with registry.extended(study.measures):
        assert tables.pairs(study)["heat"].tolist() == [6]
    assert "measure heat: has several meanings in this study; the newest counts, values of 1 other run are left out" in (
        study.gaps
    )
    assert any(gap.startswith("measure heat: recorded by 2 of 3 combinations") for gap in study.gaps)


def test_of_several_meanings_of_a_curve_the_newest_counts(tmp_path, empty_database):
    made = grid(["svm_high"], ["svm_high"], [1.0], range(2))
    for item, share in zip(made, (0.5, 0.25), strict=True):
        described(item, "heat", math.nan, is_curve=True, compute={"_target_": "mine.heat", "share": share})
        del item["metrics"]["heat"]
        item["curve"]["heat"] = share * item["curve"]["epsilon"]
    study = study_of(tmp_path, empty_database, made)
    assert study.curves["heat"].notna().sum() == len(made[1]["curve"])
    with registry.extended(study.measures):
        assert tables.pairs(study)["heat"].tolist() == [0.25]  # at epsilon 1


def test_a_description_that_is_none_is_left_out_and_said(tmp_path, empty_database):
    made = grid(["svm_high"], ["svm_high"], [1.0], range(2))
    for item in made:
        item["tags"]["measure/heat"] = "{"
    study = study_of(tmp_path, empty_database, made)
    assert study.measures == ()
    assert "measure heat: left out: expected its description in a tag of the runs, got something else" in study.gaps
    for text in ("[]", "null", '{"of": "pair"}', '{"heading": "a", "of": "all"}', '{"heading": 3, "of": "pair"}'):
        assert list(recorded_measures({"kind": "combination", "measure/heat": text})) == [("heat", None)]


def test_a_name_that_the_suite_has_by_now_is_the_suites(tmp_path, empty_database):
    (item,) = grid(["svm_high"], ["svm_high"], [1.0], [0])
    study = study_of(tmp_path, empty_database, [described(item, "gradient_size", 3.0)])
    assert study.measures == ()
    assert not [gap for gap in study.gaps if "measure" in gap]
