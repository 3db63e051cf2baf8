"""The ten bundled digits: the small study with its report, and goals that are ever harder to reach."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from conftest import Cli, runs

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.learners import Logistic, Ridge
from transfer_exp.scenarios import Combination, run
from transfer_exp.store import Store
from transfer_exp.types import Grid, Sizes


@pytest.mark.slow
def test_the_small_study_reports_who_is_mistaken_for_whom(cli: Cli, root: Path) -> None:
    ended = cli(
        "experiment=digits_evasion", "seed=0", "surrogate=logistic_high,logistic_low", "target=logistic_low,forest_low"
    )
    assert ended.rc == 0, ended.stderr
    assert "logistic H" in ended.stdout
    tables = root / "reports" / "digits_evasion" / "tables"
    errors = pd.read_csv(tables / "class_errors.csv", dtype={"class": str})
    assert sorted(errors["class"]) == sorted([*"0123456789"] * 2)  # of two targets
    confusion = pd.read_csv(tables / "confusion.csv", dtype={"true": str, "predicted": str})
    assert set(confusion["true"]) == set("0123456789")
    finished = runs(root, "digits_evasion", kind="combination")
    assert len(finished) == 4
    assert {run.data.tags["scenario"] for run in finished} == {"classification"}
    assert {run.data.tags["surrogate.family"] for run in finished} == {"logistic"}
    html = (tables.parent / "report.html").read_text()
    assert "Classes" in html
    assert (tables.parent / "figures" / "confusion_target.png").is_file()


@pytest.mark.parametrize("norm", ["l2", pytest.param("linf", marks=pytest.mark.slow)])
def test_the_least_likely_class_is_harder_to_reach_than_the_next_one(tmp_path: Path, norm: str) -> None:
    data = load_digits(name="digits", split=Sizes(target=200, surrogate=200, test=100))
    grid = (0.0, 0.7) if norm == "l2" else (0.0, 0.12)
    reached, store = {}, Store(tmp_path)
    for goal in ("any", "next", "least_likely"):
        combination = Combination(
            dataset=data,
            surrogate=Logistic(C=1),
            target=Ridge(alpha=1),
            attack=Evasion(norm=norm, goal=goal),
            epsilon=Grid(grid=grid, reference=grid[1], shown=grid[1:]),
            n_variability=2,
        )
        curves = run(combination, store).curves
        name = "success" if goal == "any" else "targeted_success"
        reached[goal] = curves[name][-1], curves[f"whitebox_{name}"][-1]
        print(f"{norm} {goal}: reached {reached[goal][0]:.2f} on the target, {reached[goal][1]:.2f} in the white box")
    for box in (0, 1):
        assert reached["any"][box] > reached["next"][box] > reached["least_likely"][box]
