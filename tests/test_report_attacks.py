"""Attacks on training data side by side, from rows made by hand."""

from __future__ import annotations

import math
from itertools import product
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from transfer_exp import figures
from transfer_exp.report.attacks import damage, defences, in_equal_time

SHARES = (0.0, 0.1, 0.2)


def study(attack: str, *, harm: float, seconds: float | None, targets: tuple[str, ...] = ("a", "b"), **more: Any) -> Any:
    """Three seeds of one surrogate: error 0.1 + harm (0.5 + seed) share, seconds in proportion to the share."""
    rows = pd.DataFrame(product(targets, range(3), SHARES), columns=["target", "seed", "epsilon"])
    rows = rows.assign(surrogate="s", surrogate_fraction=1.0, clean_error=0.1)
    rows["error"] = 0.1 + harm * (0.5 + rows["seed"]) * rows["epsilon"]
    runs = rows[["surrogate", "target", "seed"]].drop_duplicates()
    if seconds is not None:
        for share in SHARES:
            runs[f"effort/cpu_seconds_at_{share:g}"] = seconds * share
    fixed = {"scenario": "poisoning", "attack": attack, "fraction": 1.0, "settings": {"attack": attack}, "others": ()}
    return SimpleNamespace(**{**fixed, "curves": rows, "runs": runs, **more})


def test_damage_is_the_error_above_the_clean_one_over_targets_that_all_have_met() -> None:
    other = study("flips", harm=0.5, seconds=1.0, targets=("a",))
    found = damage(study("bilevel", harm=1.0, seconds=100.0, others=(other,)))
    assert found[["attack", "epsilon", "targets", "n"]].to_numpy().tolist() == [
        ["bilevel", 0.1, 1, 3],
        ["bilevel", 0.2, 1, 3],
        ["flips", 0.1, 1, 3],
        ["flips", 0.2, 1, 3],
    ]
    assert found["damage"].tolist() == pytest.approx([0.15, 0.3, 0.075, 0.15])
    assert found["cpu_seconds"].tolist() == pytest.approx([10, 20, 0.1, 0.2])
    assert (found["low"] < found["damage"]).all()
    assert set(found["settings"]) == {""}


def test_in_equal_time_an_attack_has_what_it_had_made_by_then() -> None:
    other = study("flips", harm=0.5, seconds=60.0)
    found = in_equal_time(damage(study("bilevel", harm=1.0, seconds=100.0, others=(other,))))
    rows = found[["cpu_seconds", "attack", "reached", "damage"]].to_numpy().tolist()
    assert [row[:3] for row in rows] == [
        [12.0, "bilevel", 0.1],
        [12.0, "flips", 0.2],
        [20.0, "bilevel", 0.2],
        [20.0, "flips", 0.2],
    ]
    assert [row[3] for row in rows] == pytest.approx([0.15, 0.15, 0.3, 0.15])
    slow = in_equal_time(damage(study("bilevel", harm=1.0, seconds=1000.0, others=(other,))))
    assert slow.loc[0, ["reached", "damage"]].tolist() == [0, 0]  # nothing yet


def test_defences_are_told_by_share_and_target() -> None:
    own = study("bilevel", harm=1.0, seconds=1.0)
    own.runs["defence/removed_clean_at_0"] = [4.0, 6.0, 5.0, *3 * [math.nan]]
    own.runs["defence/removed_poisoning_at_0.1"] = [1.0, 2.0, 1.5, *3 * [math.nan]]
    found = defences(own).set_index(["target", "epsilon"])
    assert found.loc[("a", 0.0), "removed_clean"] == 5
    assert found.loc[("a", 0.1), "removed_poisoning"] == 1.5
    assert len(found) == 2


def test_studies_of_other_kinds_and_earlier_ones_have_none() -> None:
    for one in (
        study("evasion", harm=1.0, seconds=1.0, scenario="classification"),
        study("bilevel", harm=1.0, seconds=None),
    ):
        assert not len(damage(one))
        assert not len(in_equal_time(damage(one)))
        assert not len(defences(one))


def test_a_line_is_drawn_for_each_attack() -> None:
    other = study("flips", harm=0.5, seconds=60.0)
    figure, ax = figures.single()
    lines = figures.damage_lines(damage(study("bilevel", harm=1.0, seconds=100.0, others=(other,))), ax, title="s")
    assert [line.get_label() for line in lines] == ["bilevel", "flips"]
    assert [line.get_xdata().tolist() for line in lines] == [pytest.approx([10, 20]), pytest.approx([6, 12])]  # type: ignore[union-attr]
    assert figure.axes == [ax]


def test_a_study_without_defences_has_no_table_of_them() -> None:
    assert len(defences(study("bilevel", harm=1.0, seconds=100.0))) == 0
