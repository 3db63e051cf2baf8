"""The cells of a study as metrics and as markdown: numbers by hand, names that MLflow takes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_study import combination, frames

from transfer_exp.report.study import Study
from transfer_exp.report.summary import cell_metrics, legal_names, markdown_matrices
from transfer_exp.tracking.tracker import Record, Tracker

T_1 = 12.706204736432095  # Student's t with one degree of freedom, 97.5%: tan(0.475 pi)


def planted(errors: dict[tuple[str, str, float, int], float]) -> Study:
    """A study with the given errors, by surrogate, target, share of the data and seed, at every epsilon."""
    items: list[dict[str, Any]] = []
    for cell, error in errors.items():
        item = combination(*cell)
        item["curve"]["error"] = error
        item["curve"]["noise_error"] = 0.125
        items.append(item)
    return frames(items)


@pytest.fixture(scope="module")
def study() -> Study:
    found = {("svm_low", "svm_high", 1.0, seed): error for seed, error in enumerate([0.1, 0.2, 0.6])}
    found |= {("svm_low", "ridge_low", 1.0, seed): error for seed, error in enumerate([0.3, 0.2, 0.4])}
    found |= {("rbf_low", "svm_high", 1.0, seed): error for seed, error in enumerate([0.5, 0.7])}
    found |= {("svm_low", "svm_high", 0.2, seed): 0.75 for seed in range(3)}
    return planted(found)


def test_means_and_intervals_of_cells_and_of_transfer(study: Study) -> None:
    found = cell_metrics(study)
    # Of .1, .2, .6: mean .3, variance (.04 + .01 + .09) / 2 = .07. Half of two degrees of freedom is one.
    half = T_1 * math.sqrt(0.07 / 3)
    assert found["mean_error/svm_low/svm_high"] == pytest.approx(0.3)
    assert found["mean_error_low95/svm_low/svm_high"] == pytest.approx(0.3 - half)
    assert found["mean_error_high95/svm_low/svm_high"] == pytest.approx(0.3 + half)
    # Seed by seed over the targets: .2, .2, .5; mean .3, variance (.01 + .01 + .04) / 2 = .03.
    half = T_1 * math.sqrt(0.03 / 3)
    assert found["mean_transfer/svm_low"] == pytest.approx(0.3)
    assert found["mean_transfer_low95/svm_low"] == pytest.approx(0.3 - half)
    assert found["mean_transfer_high95/svm_low"] == pytest.approx(0.3 + half)
    assert found["reference_epsilon"] == 1
    assert found["seeds"] == 3


def test_two_seeds_have_a_mean_and_no_interval_and_a_share_of_the_data_is_named(study: Study) -> None:
    found = cell_metrics(study)
    assert {name for name in found if "rbf_low" in name} == {"mean_error/rbf_low/svm_high", "mean_transfer/rbf_low"}
    assert found["mean_error/rbf_low/svm_high"] == pytest.approx(0.6)
    assert found["mean_error/share 0.2/svm_low/svm_high"] == pytest.approx(0.75)
    assert found["mean_transfer_high95/share 0.2/svm_low"] == pytest.approx(0.75)
    assert len(found) == 2 + 3 * 2 + 1 + 3 + 1 + 3 + 3  # reference and seeds, cells, transfers, the share's


def test_the_matrix_in_markdown(study: Study) -> None:
    assert markdown_matrices([study], longest=1000) == (
        "**error at epsilon 1, mean over 3 seeds**\n"
        "\n"
        "| surrogate | SVM H | ridge L | mean |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| SVM L | 30% | 30% | 30% |\n"
        "| RBF L | 60% | – | 60% |\n"  # noqa: RUF001
        "| mean | 45% | 30% | 45% |\n"
        "| noise | 12% | 12% | 12% |"
    )


def test_a_matrix_too_long_for_a_description_leaves_its_means_or_says_where_it_is(study: Study) -> None:
    whole = markdown_matrices([study], longest=1000)
    means = markdown_matrices([study], longest=len(whole) - 1)
    assert "| surrogate | mean |\n" in means
    assert "| SVM L | 30% |\n" in means
    assert markdown_matrices([study], longest=len(means) - 1).endswith("4 rows, too many for this place; see the artifacts")


def test_names_that_mlflow_takes(root: Path) -> None:
    odd = [
        "svm_low",
        "svm_low[C=0.001]",
        "a > b",
        "../x",
        "",
        "..",
        "/",
        "a/b",
        "=1",
        "net@home",
        "é|ü",
        "a" * 300,
        "a" * 301,
    ]
    named = legal_names(odd)
    assert named["svm_low"] == "svm_low"
    assert named["svm_low[C=0.001]"] == "svm_low C 0.001"
    tracker = Tracker(uri=None, root=root, study="names")
    with tracker.run("run", tags={}) as run_id:
        metrics = {f"mean_error_high95/share 0.2/{one}/{other}": 1.0 for one in named.values() for other in named.values()}
        tracker.log(run_id, Record(metrics=metrics))
    assert set(tracker.client.get_run(run_id).data.metrics) == set(metrics)
    assert len(metrics) == len(odd) ** 2


@given(st.lists(st.text(max_size=8)))
def test_no_two_names_become_one(names: list[str]) -> None:
    named = legal_names(names)
    assert set(named) == set(names)
    assert len(set(named.values())) == len(named)


def test_slices_of_a_study_are_named(study: Study) -> None:
    parts = [replace(study, settings={"attack.norm": norm}) for norm in ("l2", "linf")]
    found = cell_metrics(*parts)
    assert found["mean_error/attack.norm l2/svm_low/svm_high"] == pytest.approx(0.3)
    assert found["mean_error/attack.norm linf/share 0.2/svm_low/svm_high"] == pytest.approx(0.75)
    assert found["reference_epsilon/attack.norm linf"] == 1
    assert len(found) == 2 * len(cell_metrics(study))
    text = markdown_matrices(parts, longest=2000)
    assert "**error at epsilon 1, attack.norm l2, mean over 3 seeds**" in text
    assert text.count("| SVM L | 30% | 30% | 30% |") == 2
