"""The report from a tracking store: files, page, command line, and what goes wrong."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from synthetic_study import SMALL, SURROGATES, TARGETS, combination, grid, write_store

from transfer_exp.report.__main__ import main
from transfer_exp.report.build import build_report, study_summary
from transfer_exp.report.files import replacing
from transfer_exp.report.page import number, probability
from transfer_exp.report.records import load
from transfer_exp.types import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with two studies; the first lacks one combination, has one that failed and one that was run twice."""
    folder = tmp_path_factory.mktemp("store")
    items = grid(SMALL["surrogates"], ["svm_high", "forest_low"], [1.0], range(2))
    again = combination("svm_high", "svm_high", 1.0, 0)
    again["metrics"] |= {"clean_error": 0.9, "health/whitebox_improved": 0.25}
    again["curve"]["clean_error"] = 0.9
    write_store(folder, "first", [*items[:-1], again], status={3: "FAILED"})
    write_store(folder, "<second> & last", grid(["ridge_low"], ["ridge_low"], [1.0], [0]), images=False)
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return build_report(tracking_uri=f"sqlite:///{folder}/mlflow.db", study="first", out=folder / "out").parent


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("TRANSFER_EXP_ROOT", raising=False)


def test_report_has_the_files_of_the_interface(report):
    names = {file.relative_to(report).as_posix() for file in report.rglob("*") if file.is_file()}
    assert {"report.html", "claims.json", "curves.csv", "runs.csv", "tables/binomial_tests.csv"} <= names
    for stem in ("security_curves", "error_matrix_eps2_fraction1", "gradient_alignment_vs_error_ratio", "example_1"):
        assert {f"figures/{stem}.png", f"figures/{stem}.svg"} <= names
    assert "tables/error_matrix_eps0.5_fraction1.csv" in names


def test_the_experiment_is_described_by_all_runs_of_the_study_and_its_report(report, folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("first")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    note = experiment.tags["mlflow.note.content"]
    assert note.startswith("14 finished combinations.\n\n**error at epsilon 1, mean over 2 seeds**\n\n| surrogate |")
    assert "\n```\npython -m transfer_exp experiment=first\n```\n" in note
    table = pd.read_csv(report / "tables" / "error_matrix_eps1_fraction1.csv", index_col="surrogate")
    assert f"| SVM L | {100 * table.loc['svm_low', 'svm_high']:.0f}% |" in note
    assert f"| noise | {100 * table.loc['noise', 'svm_high']:.0f}% |" in note
    assert f"(#/experiments/{experiment.experiment_id}/runs/{parent.info.run_id}/artifacts/report/report.html?" in note


def test_curves_and_runs_are_tidy(report):
    curves, runs = pd.read_csv(report / "curves.csv"), pd.read_csv(report / "runs.csv")
    key = ["surrogate", "target", "surrogate_fraction", "seed"]
    assert len(runs) == 4 * 2 * 2 - 2
    assert not runs.duplicated(key).any()
    assert not curves.duplicated([*key, "epsilon"]).any()
    assert len(curves) == 11 * len(runs)
    assert set(curves["study"]) == set(runs["study"]) == {"first"}
    measured = {
        "gradient_size",
        "gradient_alignment",
        "loss_variability",
        "perturbation_correlation",
        "attack.norm",
        "n_test",
    }
    assert measured <= set(runs.columns)
    assert runs.loc[runs["target"] == "forest_low", "gradient_size"].isna().all()


def test_newer_duplicate_counts(report):
    runs = pd.read_csv(report / "runs.csv").set_index(["surrogate", "target", "seed"])
    assert runs.loc[("svm_high", "svm_high", 0), "clean_error"] == 0.9


def test_the_control_stands_in_matrices_curves_and_tables(report):
    matrix = pd.read_csv(report / "tables" / "error_matrix_eps2_fraction1.csv", index_col="surrogate")
    curves = [combination("svm_low", "forest_low", 1.0, seed)["curve"].set_index("epsilon") for seed in range(2)]
    assert matrix.index[-2:].tolist() == ["mean", "noise"]
    assert matrix.loc["noise", "forest_low"] == pytest.approx(np.mean([curve.loc[2.0, "noise_error"] for curve in curves]))
    assert pd.read_csv(report / "curves.csv")["noise_error"].notna().all()
    html = (report / "report.html").read_text()
    assert "Noise: random noise of the same size" in html
    for stem in ("surrogates_above_noise", "targets_above_noise"):
        assert f"tables/{stem}.csv" in html
        assert len(pd.read_csv(report / "tables" / f"{stem}.csv"))


def test_page_is_one_file_without_network_and_names_the_gaps(report):
    html = (report / "report.html").read_text()
    assert html.index('id="claims"') < html.index('id="curves"')
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "<script" not in html
    assert "surrogate=svm_high, target=forest_low, seed=1" in html  # failed
    assert "surrogate=mlp_low, target=forest_low, seed=1" in html  # never run
    assert "python -m transfer_exp experiment=first" in html
    assert "a" * 40 in html
    assert "white box of svm_high: points made on a surrogate harmed it more than its own attack in 1 of" in html
    for stem in ("security_curves", "perturbation_sizes", "example_2"):
        assert f'id="{stem}"' in html


def test_claims_are_valid_json_with_reasons(report):
    content = json.loads((report / "claims.json").read_text(), parse_constant=pytest.fail)
    assert content["study"] == "first"
    assert len(content["warnings"]) == 1
    names = {"claim", "statement", "learner", "statistic", "p_value", "p_holm", "n", "verdict", "reason"}
    for claim in content["claims"]:
        assert names <= set(claim)
        assert claim["verdict"] in ("holds", "fails", "not tested")
        assert claim["reason"] or claim["verdict"] == "holds"


def test_every_table_has_its_header_also_without_rows(report):
    files = sorted((report / "tables").iterdir())
    assert {"data_shares.csv", "binomial_tests_others.csv", "correlations.csv"} <= {file.name for file in files}
    lines = {file.name: file.read_text().splitlines() for file in files}
    assert lines["data_shares.csv"] == ["surrogate,surrogate_fraction,epsilon,all_data,less_data,difference,low,high,n"]
    assert all(content and content[0].strip(",") for content in lines.values())


@pytest.mark.slow
def test_one_run_alone_has_all_tables_and_speaks_of_one(folder, tmp_path):
    uri = f"sqlite:///{folder}/mlflow.db"
    page = build_report(tracking_uri=uri, study="<second> & last", out=tmp_path / "out", log_to_parent=False)
    for file in (page.parent / "tables").iterdir():
        assert len(pd.read_csv(file).columns) > 1, file.name
    html = page.read_text()
    assert "1 repetition, 1 finished run." in html
    assert not re.search(
        r"(?<![\d.,])1 (seeds|repetitions|runs|combinations|points|pairs|learners|surrogates|targets)\b", html
    )


def test_report_is_logged_to_the_parent_run(folder, report):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("first")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'study'")
    logged = Path(client.download_artifacts(parent.info.run_id, "report"))
    assert (logged / "report.html").read_bytes() == (report / "report.html").read_bytes()


@pytest.mark.slow
def test_studies_do_not_mix_and_names_are_escaped(folder, tmp_path):
    uri = f"sqlite:///{folder}/mlflow.db"
    page = build_report(tracking_uri=uri, study="<second> & last", out=tmp_path / "out", log_to_parent=False)
    assert set(pd.read_csv(page.parent / "runs.csv")["surrogate"]) == {"ridge_low"}
    html = page.read_text()
    assert "&lt;second&gt; &amp; last" in html
    assert "<second>" not in html
    assert "example_1" not in html  # no images


@pytest.mark.slow
def test_report_again_replaces_the_earlier_one(folder, tmp_path):
    uri = f"sqlite:///{folder}/mlflow.db"
    out = tmp_path / "out"
    for _ in range(2):
        build_report(tracking_uri=uri, study="<second> & last", out=out, log_to_parent=False)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_summary_has_a_matrix_for_every_epsilon_and_the_curves(folder, tmp_path):
    uri = f"sqlite:///{folder}/mlflow.db"
    summary = study_summary(tracking_uri=uri, study="<second> & last", out=tmp_path)
    assert summary.left_out == ()
    text = summary.text
    files = list(tmp_path.iterdir())
    assert "ridge L" in text
    assert text.splitlines()[-1].startswith("noise")
    assert "mean over 1 seed\n" in text
    assert {file.suffix for file in files} == {".csv", ".png"}
    assert len(files) == 2 * 11 + 1
    assert all(file.stat().st_size for file in files)
    table = pd.read_csv(tmp_path / "error_matrix_eps2_fraction1.csv", index_col="surrogate")
    curve = combination("ridge_low", "ridge_low", 1.0, 0)["curve"].set_index("epsilon")
    assert table.loc["ridge_low", "ridge_low"] == pytest.approx(curve.loc[2.0, "error"])
    assert table.loc["noise", "ridge_low"] == pytest.approx(curve.loc[2.0, "noise_error"])


@pytest.mark.slow
def test_strengths_that_share_a_file_name_are_refused_and_nothing_is_written(tmp_path):
    item = combination("ridge_low", "ridge_low", 1.0, 0)
    item["curve"].loc[3, "epsilon"] = 1 + 1e-7
    item["params"]["epsilon.grid"] = json.dumps(sorted(item["curve"]["epsilon"]))
    item["curve"] = item["curve"].sort_values("epsilon")
    uri = write_store(tmp_path, "close", [item], images=False)
    for make in (study_summary, build_report):
        with pytest.raises(UserError, match="error_matrix_eps1_fraction1; round them"):
            make(tracking_uri=uri, study="close", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failure_midway_leaves_the_earlier_report_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    with replacing(out) as fresh:
        (fresh / "claims.json").write_text("earlier")
    with pytest.raises(ZeroDivisionError), replacing(out) as fresh:
        (fresh / "claims.json").write_text(str(1 / 0))
    assert (out / "claims.json").read_text() == "earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_folder_with_other_things_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds something else"), replacing(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").exists()


def test_lost_curves_are_named(folder):
    uri = write_store(folder, "lossy", grid(["svm_low"], ["svm_low"], [1.0], range(2)), images=False)
    file = next((folder / "mlartifacts" / "lossy").rglob("curves.csv"))
    file.unlink()
    study = load(tracking_uri=uri, study="lossy")
    assert f"left out: {file}: expected a file, got none; do it again with resume=false" in study.gaps
    assert any(gap.startswith("not finished (damaged): seed=") for gap in study.gaps)
    assert len(study.curves) == 11
    assert len(study.runs) == 1


@pytest.mark.slow
def test_command_line_writes_the_report(folder, unset, tmp_path, capsys):
    assert main(["study=<second> & last", f"root={folder}", f"out={tmp_path / 'out'}"]) == 0
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out


def test_help_names_every_key(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"{key} " in text for key in ("study", "root", "tracking_uri", "out"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "study: expected study=<name>"),
        (["studdy=first"], "got studdy=first"),
        (["study="], "got study="),
        (["study=third", "root={folder}"], "first"),
        (["study=first", "root={empty}"], "got no such file"),
        (["study=first", "tracking_uri=http://127.0.0.1:{closed}"], "expected a tracking store at http://127.0.0.1:"),
        (["study=first", "root={broken}"], "expected a readable tracking store"),
        (["study=first", "root={folder}", "out={folder}"], "holds something else"),
    ],
)
def test_mistakes_are_told_in_one_line_with_exit_2(arguments, said, folder, unset, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "mlflow.db").write_bytes(b"not a database" * 100)
    with socket.socket() as taken:  # bound, not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        names = {"folder": folder, "empty": tmp_path, "broken": broken, "closed": taken.getsockname()[1]}
        assert main([argument.format(**names) for argument in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "mlflow.db").exists()


def test_study_without_finished_run(folder):
    uri = write_store(folder, "failed", [combination("svm_low", "svm_low", 1.0, 0)], images=False, status={0: "FAILED"})
    with pytest.raises(UserError, match="expected finished runs of failed, got none of 1"):
        load(tracking_uri=uri, study="failed")


def test_numbers_for_people():
    assert [number(x) for x in (10.0, 0.12345, float("nan"), float("inf"))] == ["10", "0.123", "–", "–"]  # noqa: RUF001
    assert [probability(x) for x in (0.001953125, float("nan"))] == ["0.002", "–"]  # noqa: RUF001


@pytest.mark.slow
def test_report_of_a_full_study(tmp_path):
    uri = write_store(tmp_path, "full", grid(SURROGATES, TARGETS, [1.0, 0.2], range(10)))
    build_report(tracking_uri=uri, study="full", out=tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 2400


def test_runs_that_were_killed_before_they_logged_what_they_are_are_told_and_not_fatal(tmp_path):
    uri = write_store(tmp_path, "study", grid(["ridge_low"], ["ridge_low"], [1.0], [0]), images=False)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study").experiment_id
    for tags, status in (({"error": "UserError: no room"}, "FAILED"), ({}, "KILLED")):
        run = client.create_run(experiment, tags={"kind": "combination", **tags})
        client.set_terminated(run.info.run_id, status=status)
    study = load(tracking_uri=uri, study="study")
    assert len(study.runs) == 1
    assert {"1 run did not finish: UserError: no room", "1 run did not finish: KILLED"} <= set(study.gaps)


@pytest.mark.slow
def test_strengths_that_would_share_a_file_are_refused(tmp_path):
    item = combination("ridge_low", "ridge_low", 1.0, 0)
    item["curve"].loc[3, "epsilon"] = 1.0000001  # beside 1
    item["params"]["epsilon.grid"] = json.dumps(list(item["curve"]["epsilon"]))
    uri = write_store(tmp_path, "study", [item], images=False)
    with pytest.raises(UserError, match="got several for error_matrix_eps1_fraction1"):
        build_report(tracking_uri=uri, study="study", out=tmp_path / "out", log_to_parent=False)
