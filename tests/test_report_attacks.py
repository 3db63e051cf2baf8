"""Attacks on training data side by side, from rows made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from transfer_exp import figures
from transfer_exp.report import attack_drawing
from transfer_exp.report.attack_groups import ANY, left_out
from transfer_exp.report.attacks import damage, defences, in_equal_time
from transfer_exp.report.taxonomy import Learners

SHARES = (0.0, 0.1, 0.2)
Harms = float | Mapping[str, float]


def study(
    attack: str,
    *,
    harm: Harms,
    seconds: float | None,
    targets: Sequence[str] = ("a", "b"),
    seeds: Sequence[int] = (0, 1, 2),
    retrainings: float = 5.0,
    others: Sequence[Any] = (),
    settings: Mapping[str, str] | None = None,
    **more: Any,
) -> Any:
    """Of each surrogate (``s``, if none is named): error 0.1 + harm (0.5 + seed) share; seconds go with the share."""
    harms = harm if isinstance(harm, Mapping) else {"s": harm}
    key = ["surrogate", "target", "seed", "epsilon"]
    rows = pd.DataFrame(product(harms, targets, seeds, SHARES), columns=key).assign(surrogate_fraction=1.0, clean_error=0.1)
    rows["error"] = 0.1 + rows["surrogate"].map(dict(harms)) * (0.5 + rows["seed"]) * rows["epsilon"]
    runs = rows[["surrogate", "target", "seed", "surrogate_fraction"]].drop_duplicates()
    runs = runs.assign(**{"effort/retrainings": retrainings, "effort/gradients": 0.0})
    if seconds is not None:
        for share in SHARES:
            runs[f"effort/cpu_seconds_at_{share:g}"] = seconds * share
    fixed = {
        "scenario": "poisoning",
        "attack": attack,
        "fraction": 1.0,
        "settings": {"attack": attack} | dict(settings or {}),
    }
    return SimpleNamespace(**{**fixed, "others": tuple(others), "curves": rows, "runs": runs, **more})


def without(one: Any, **values: Any) -> Any:
    """The study without the combinations that have these values."""
    for name in ("curves", "runs"):
        rows = getattr(one, name)
        own = pd.Series(data=True, index=rows.index)
        for column, value in values.items():
            own &= rows[column] == value
        setattr(one, name, rows[~own])
    return one


def compared(rows: pd.DataFrame, surrogate: str) -> dict[str, tuple[str, int, float]]:
    """By attack: whose points, on how many targets, and the damage at the largest share."""
    own = rows[(rows["surrogate"] == surrogate) & (rows["epsilon"] == 0.2)]
    assert own["attack"].is_unique
    return {row["attack"]: (row["made_on"], row["targets"], round(row["damage"], 9)) for _, row in own.iterrows()}


def test_damage_is_the_error_above_the_clean_one_over_targets_that_all_have_met() -> None:
    other = study("flips", harm=0.5, seconds=1.0, targets=("a",))
    both = study("bilevel", harm=1.0, seconds=100.0, others=(other,))
    found = damage(both)
    assert found[["attack", "made_on", "epsilon", "targets", "n"]].to_numpy().tolist() == [
        ["bilevel", "s", 0.1, 1, 3],
        ["bilevel", "s", 0.2, 1, 3],
        ["flips", "s", 0.1, 1, 3],
        ["flips", "s", 0.2, 1, 3],
    ]
    assert found["damage"].tolist() == pytest.approx([0.15, 0.3, 0.075, 0.15])
    assert found["cpu_seconds"].tolist() == pytest.approx([10, 20, 0.1, 0.2])
    assert (found["low"] < found["damage"]).all()
    assert set(found["settings"]) == set(found["where"]) == {""}
    assert left_out(both).to_numpy().tolist() == [["", "s", "target b", "not met by flips"]]


def test_an_attack_that_asks_no_surrogate_joins_each_and_one_that_does_joins_by_its_best() -> None:
    flips = study("flips", harm={"r": 0.4, "s": 0.3, "t": 0.2}, seconds=10.0)
    chance = study("chance", harm={"r": 0.1, "s": 0.1, "t": 0.1}, seconds=1.0, retrainings=0.0)
    found = damage(study("bilevel", harm={"s": 1.0, "net": 2.0}, seconds=100.0, others=(flips, chance)))
    assert compared(found, "net") == {"bilevel": ("net", 2, 0.6), "flips": ("r", 2, 0.12), "chance": (ANY, 2, 0.03)}
    assert compared(found, "s") == {"bilevel": ("s", 2, 0.3), "flips": ("s", 2, 0.09), "chance": (ANY, 2, 0.03)}
    assert compared(found, "r")["bilevel"] == ("net", 2, 0.6)
    in_time = in_equal_time(found)
    own = in_time[(in_time["surrogate"] == "net") & (in_time["cpu_seconds"] == 2)]
    assert own[["attack", "made_on", "reached"]].to_numpy().tolist() == [
        ["bilevel", "net", 0],
        ["flips", "r", 0.2],
        ["chance", ANY, 0.2],
    ]


@pytest.mark.parametrize(
    ("harm", "options"),
    [
        ({"r": 0.1, "s": 0.1}, {"retrainings": 1.0}),  # asked, though the errors are equal
        ({"r": 0.1, "s": 0.1 + 1e-6}, {"retrainings": 0.0}),
        ({"s": 0.1}, {"retrainings": 0.0}),  # nothing shows that another surrogate would have the same
        ({"r": 0.1, "s": 0.1}, {"retrainings": math.nan}),
    ],
)
def test_points_are_the_same_for_every_surrogate_only_where_the_records_show_it(harm: Harms, options: Any) -> None:
    other = study("chance", harm=harm, seconds=1.0, **options)
    found = damage(study("bilevel", harm={"s": 1.0, "net": 2.0}, seconds=100.0, others=(other,)))
    assert compared(found, "s")["chance"][0] == "s"
    assert compared(found, "net")["chance"][0] != ANY
    other.runs = other.runs.drop(columns=["effort/gradients"])  # as of an earlier version
    assert compared(damage(study("bilevel", harm=1.0, seconds=1.0, others=(other,))), "s")["chance"][0] == "s"


def test_a_surrogate_is_compared_on_the_targets_that_it_met_and_what_is_left_out_is_told() -> None:
    targets = ("a", "b", "c")
    chance = study("chance", harm={"s": 0.1, "t": 0.1}, seconds=1.0, retrainings=0.0, targets=targets)
    bilevel = study("bilevel", harm={"s": 1.0, "net": 2.0}, seconds=100.0, targets=targets, others=(chance,))
    both = without(bilevel, surrogate="net", target="b")
    found = damage(both)
    assert {name: {own[1] for own in compared(found, name).values()} for name in ("s", "net")} == {"s": {3}, "net": {2}}
    told = left_out(both)
    assert told[told["surrogate"] != "t"].to_numpy().tolist() == [["", "net", "target b", "not met by bilevel"]]


def test_points_that_are_the_same_for_all_count_once_a_target() -> None:
    chance = study("chance", harm={"s": 0.1, "t": 0.1}, seconds=1.0, retrainings=0.0)
    chance.curves.loc[(chance.curves["target"] == "b") & (chance.curves["epsilon"] > 0), "error"] += 0.1
    without(chance, surrogate="t", target="b")
    assert compared(damage(study("bilevel", harm=1.0, seconds=1.0, others=(chance,))), "s")["chance"] == (ANY, 2, 0.08)


def test_seeds_that_one_attack_lacks_are_left_out_of_all_with_their_seconds() -> None:
    other = study("flips", harm=0.5, seconds=1.0, seeds=(0, 1))
    both = study("bilevel", harm=1.0, seconds=100.0, others=(other,))
    both.runs.loc[both.runs["seed"] == 2, "effort/cpu_seconds_at_0.2"] = 1e9
    found = damage(both)
    assert set(found["n"]) == {2}
    assert compared(found, "s") == {"bilevel": ("s", 2, 0.2), "flips": ("s", 2, 0.1)}
    assert found["cpu_seconds"].tolist() == pytest.approx([10, 20, 0.1, 0.2])
    assert left_out(both).to_numpy().tolist() == [["", "s", "seed 2", "not met by flips"]]


def test_a_sweep_that_was_cut_off_in_a_seed_loses_that_seed_and_no_target() -> None:
    targets = ("a", "b", "c", "d")
    other = without(study("flips", harm=0.5, seconds=1.0, targets=targets), seed=2, target="d")
    both = study("bilevel", harm=1.0, seconds=100.0, targets=targets, others=(other,))
    assert set(damage(both)[["targets", "n"]].itertuples(index=False, name=None)) == {(3, 3)}  # 9 rather than 8 of them
    for target in ("b", "c"):
        other = without(other, seed=2, target=target)
    assert set(damage(both)[["targets", "n"]].itertuples(index=False, name=None)) == {(4, 2)}
    assert left_out(both).to_numpy().tolist() == [["", "s", "seed 2", "not met by flips"]]


def test_the_best_is_of_those_that_cover_most_and_an_attack_without_common_targets_is_told() -> None:
    wide = without(study("flips", harm={"r": 0.4, "s": 0.3}, seconds=1.0), surrogate="r", target="b")
    far = study("far", harm={"r": 0.4}, seconds=1.0, targets=("z",))
    both = study("bilevel", harm={"net": 1.0}, seconds=100.0, others=(wide, far))
    assert compared(damage(both), "net") == {"bilevel": ("net", 2, 0.3), "flips": ("s", 2, 0.09)}
    told = left_out(both).set_index("surrogate").loc[["net"], ["left_out"]]
    assert told["left_out"].tolist() == ["attack far"]
    apart = study("far", harm=0.4, seconds=1.0, targets=("z",))
    nothing = study("bilevel", harm=1.0, seconds=100.0, others=(apart,))
    assert not len(damage(nothing))
    assert left_out(nothing)[["left_out", "because"]].to_numpy().tolist() == [
        ["all", "no target has met all attacks with the same seed"]
    ]


def test_attacks_on_other_data_are_not_compared_though_the_attack_alone_is_told() -> None:
    one, other = study("bilevel", harm=1.0, seconds=100.0), study("flips", harm=0.5, seconds=1.0, targets=("a",))
    one.runs["dataset.classes"], other.runs["dataset.classes"] = "[8, 9]", "[4, 9]"
    one.others = (other,)
    found = damage(one)
    assert found[["where", "attack", "targets"]].drop_duplicates().to_numpy().tolist() == [
        ["dataset.classes [8, 9]", "bilevel", 2],
        ["dataset.classes [4, 9]", "flips", 1],
    ]
    assert not len(in_equal_time(found))
    assert not len(left_out(one))
    told = study("bilevel", harm=1.0, seconds=1.0, settings={"n_variability": "3", "attack.label": "second"})
    assert damage(told).loc[0, ["where", "settings"]].tolist() == ["n_variability 3", "attack.label second"]


def test_smaller_shares_of_the_surrogates_data_do_not_count() -> None:
    one = study("bilevel", harm=1.0, seconds=100.0)
    less = study("bilevel", harm=9.0, seconds=9000.0)
    for name in ("curves", "runs"):
        setattr(one, name, pd.concat([getattr(one, name), getattr(less, name).assign(surrogate_fraction=0.5)]))
    found = damage(one)
    assert found["damage"].tolist() == pytest.approx([0.15, 0.3])
    assert found["cpu_seconds"].tolist() == pytest.approx([10, 20])


def test_an_attack_whose_seconds_are_not_recorded_is_told() -> None:
    other = study("old", harm=0.5, seconds=None)
    both = study("bilevel", harm=1.0, seconds=100.0, others=(other,))
    assert set(damage(both)["attack"]) == {"bilevel"}
    assert left_out(both).to_numpy().tolist() == [["", "", "attack old", "no CPU seconds are recorded"]]


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
        assert not len(left_out(one))


def test_a_line_is_drawn_for_each_attack_dashed_where_it_was_made_elsewhere() -> None:
    other = study("flips", harm=0.5, seconds=60.0)
    rows = damage(study("bilevel", harm=1.0, seconds=100.0, others=(other,)))
    rows = rows.assign(label=rows["attack"], elsewhere=rows["attack"] == "flips")
    figure, ax = figures.single()
    lines = figures.damage_lines(rows, ax, title="s", attacks=["absent", "bilevel", "flips"])
    assert [line.get_label() for line in lines] == ["bilevel", "flips"]
    assert [line.get_linestyle() for line in lines] == ["-", "--"]
    assert [line.get_xdata().tolist() for line in lines] == [pytest.approx([10, 20]), pytest.approx([6, 12])]  # type: ignore[union-attr]
    _, beside = figures.single()
    (alone,) = figures.damage_lines(
        rows[rows["attack"] == "flips"], beside, title="s", attacks=["absent", "bilevel", "flips"]
    )
    assert (alone.get_color(), alone.get_marker()) == (lines[1].get_color(), lines[1].get_marker())
    assert figure.axes == [ax]
    figure.draw_without_rendering()
    assert "10¹" in [label.get_text() for label in ax.get_xticklabels()]  # and no markup, which is not parsed


def test_the_figure_names_every_attack_and_has_a_panel_for_each_surrogate() -> None:
    flips = study("flips", harm={"r": 0.4, "s": 0.3}, seconds=10.0)
    both = study("bilevel", harm={"s": 1.0, "net": 2.0}, seconds=100.0, others=(flips,), learners=Learners())
    (picture,) = attack_drawing.pictures(both)
    panels = {
        ax.get_title(): {line.get_label(): line.get_linestyle() for line in ax.lines}
        for ax in picture.figure.axes
        if ax.lines
    }
    assert panels == {
        "net": {"bilevel": "-", "flips": "--"},
        "r": {"bilevel": "--", "flips": "-"},
        "s": {"bilevel": "-", "flips": "-"},
    }
    (legend,) = picture.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["bilevel", "flips"]
    assert not list(attack_drawing.pictures(study("bilevel", harm=1.0, seconds=1.0, learners=Learners())))


def test_a_study_without_defences_has_no_table_of_them() -> None:
    assert len(defences(study("bilevel", harm=1.0, seconds=100.0))) == 0
