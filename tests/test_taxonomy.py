"""Learners by what they recorded of themselves: order, labels, pairs of H and L; nothing is read off a name."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from synthetic_study import combination, frames, grid, kind, looks

from transfer_exp.report import comparisons, tables
from transfer_exp.report.earlier import completed
from transfer_exp.report.taxonomy import Kind, Learners

FAMILIES = ("svm", "rbf", "logistic", "ridge", "mlp", "forest")
NAMES = [f"{family}_{level}" for family in FAMILIES for level in ("high", "low")]


def test_learners_are_ordered_by_family_with_pairs_adjacent_and_variants_by_size():
    variants = [kind("svm_low", {"C": c}) for c in ("100", "2", "1e-05", "None")]
    every = [*map(kind, NAMES), *variants, kind("abc")]
    shuffled = [every[i].id for i in np.random.default_rng(0).permutation(len(every))]
    sizes = [f"svm_low[C={c}]" for c in ("1e-05", "2", "100", "None")]
    assert Learners(every).ordered(shuffled) == [*NAMES[:2], *sizes, *NAMES[2:], "abc"]


def test_learners_without_options_are_ordered_beside_variants_of_their_family():
    """A network as target beside the same network trained in several ways as surrogates."""
    every = [kind("cnn"), kind("cnn", {"width": "4", "depth": "2"}), kind("cnn", {"width": "16"}), kind("mlp_low")]
    for order in itertools.permutations(one.id for one in every):
        found = Learners(every).ordered(order)
        assert found.index("cnn[width=4,depth=2]") < found.index("cnn[width=16]")
        assert found[0] == "mlp_low"


def test_labels_say_family_and_level_or_what_tells_a_variant_or_the_name():
    options = {"hidden": "[50, 50]", "n_epochs": "2"}
    learners = Learners([kind("mlp_low"), kind("mlp_high", options), kind("net[1]"), kind("net")])
    assert learners.label("mlp_low") == "MLP L"
    assert learners.label("mlp_high[hidden=[50, 50],n_epochs=2]") == "MLP, hidden [50, 50], n_epochs 2"
    assert [learners.label(name) for name in ("net[1]", "net", "mean")] == ["net[1]", "net", "mean"]
    assert [learners.label_or_family(name) for name in ("mlp_low", "mlp", "ridge")] == ["MLP L", "MLP", "ridge"]


def test_two_learners_of_one_family_and_complexity_are_called_by_their_names():
    other = Kind(name="my_svm", family="svm", complexity="high")
    learners = Learners([kind("svm_high"), kind("svm_low"), other])
    assert [learners.label(name) for name in ("svm_high", "my_svm", "svm_low")] == ["svm_high", "my_svm", "SVM L"]
    assert learners.pairs(learners) == {}
    assert learners.pairs(["my_svm", "svm_low"]) == {"svm": ("my_svm", "svm_low")}


def test_variants_of_one_family_have_shades_of_its_colour_and_others_keep_theirs():
    learners = Learners([*(kind("svm_low", {"C": c}) for c in ("100", "1", "10")), kind("svm_high"), kind("rbf_low")])
    made = {name: look.line()["color"] for name, look in learners.looks(learners).items()}
    brightness = [sum(bytes.fromhex(made[f"svm_low[C={c}]"][1:])) for c in (1, 10, 100)]
    assert brightness == sorted(brightness, reverse=True)
    assert len(set(brightness)) == 3
    plain = looks(["svm_high", "rbf_low"])
    assert made["svm_low[C=10]"] == made["svm_high"] == plain["svm_high"].line()["color"]
    assert made["rbf_low"] == plain["rbf_low"].line()["color"]


def renamed(items: list, names: dict[str, str]) -> list:
    for item in items:
        for role in ("surrogate", "target"):
            item["params"][role] = names.get(item["params"][role], item["params"][role])
    return items


def test_twins_colours_and_order_follow_what_is_recorded_whatever_the_names():
    """L is called strong, H weak; one that ends in _high says nothing of itself."""
    items = grid(["svm_high", "svm_low", "mlp_low"], ["ridge_low"], [1.0], range(6))
    study = frames(renamed(items, {"svm_high": "weak", "svm_low": "strong", "mlp_low": "any_high"}))
    for item in items:
        if item["params"]["surrogate"] == "any_high":
            item["params"]["surrogate.complexity"] = "None"
    study = frames(items)
    assert list(tables.error_matrix(study, 1.0).index) == ["weak", "strong", "any_high"]
    assert [study.learners.label(name) for name in ("weak", "strong", "any_high")] == ["SVM H", "SVM L", "any_high"]
    rows = comparisons.sign_tests(study).query("role == 'surrogate'")
    assert set(rows["learner"]) == {"svm"}
    row = rows[rows["test"] == comparisons.VARIABILITY].iloc[0]
    values = [
        [i["metrics"]["loss_variability"] for i in items if i["params"]["surrogate"] == name] for name in ("weak", "strong")
    ]
    assert (row["mean_high"], row["mean_low"]) == pytest.approx((np.mean(values[0]), np.mean(values[1])))


def test_what_a_learner_says_of_itself_is_no_factor():
    items = grid(["svm_low"], ["ridge_low"], [1.0], range(4))
    for item in items[:2]:
        item["params"]["surrogate.complexity"] = "None"
        item["tags"]["surrogate.family"] = "linear"
    study = frames(items)
    assert set(study.runs["surrogate"]) == {"svm_low"}
    assert study.others == ()
    assert study.learners.of("svm_low") == kind("svm_low")  # as in the newest run


def test_of_several_h_learners_of_a_family_none_is_compared_and_they_are_named():
    items = grid(["svm_high", "svm_low"], ["ridge_low"], [1.0], range(6))
    again = renamed(grid(["svm_high"], ["ridge_low"], [1.0], range(6)), {"svm_high": "other"})
    (row,) = comparisons.sign_tests(frames([*items, *again])).query("test == 'V (own loss)'").to_dict("records")
    assert row["reason"] == "several learners are SVM H as surrogate: other, svm_high"


def test_earlier_runs_are_what_their_names_said():
    item = combination("svm_high", "forest_low", 1.0, 0)
    old = {
        k: v
        for k, v in item["params"].items()
        if not k.endswith(".complexity") and k not in ("attack.goal", "dataset.classes")
    }
    found = completed({**old, "dataset.digits": "[8, 9]"}, {})
    declared = {
        k: v for k, v in found.items() if k.endswith((".family", ".complexity", ".classes", ".goal")) or k == "scenario"
    }
    assert declared == {
        "surrogate.family": "svm", "surrogate.complexity": "high", "target.family": "forest", "target.complexity": "low",
        "scenario": "classification", "dataset.classes": "[8, 9]",
    }  # fmt: skip
    poisoned = completed({**old, "attack": "poisoning", "surrogate": "my_net"}, {})
    assert (poisoned["scenario"], poisoned["surrogate.family"]) == ("poisoning", "my_net")
    assert poisoned["surrogate.complexity"] == "None"
    assert completed({**old, "attack": "evasion_add"}, {})["scenario"] == "detection"
