"""What each scenario calls things, and that every one that an attack may name has its words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from synthetic_study import combination, frames

from transfer_exp.report import words
from transfer_exp.scenarios.words import WORDS, words_of


@pytest.mark.parametrize(
    ("scenario", "error", "axis", "strengths"),
    [
        ("classification", "error", "epsilon (l2)", ("epsilon 1", "epsilon 0.5")),
        ("detection", "evasion rate", "added features", ("1 added feature", "0.5 added features")),
        ("poisoning", "error", "share of poisoning points", ("100% poisoning points", "50% poisoning points")),
    ],
)
def test_a_study_speaks_as_its_scenario_whatever_its_attack_is_called(scenario, error, axis, strengths):
    item = combination("svm_high", "svm_low", 1.0, 0)
    item["params"]["attack"] = "mine"
    item["tags"]["scenario"] = scenario
    study = frames([item])
    assert (study.scenario, study.attack) == (scenario, "mine")
    assert (words.error_name(study), words.strength_axis(study)) == (error, axis)
    assert tuple(words.strength(study, epsilon) for epsilon in (1.0, 0.5)) == strengths
    assert words.control(study) == WORDS[scenario].control


def test_a_scenario_without_words_of_its_own_speaks_of_errors():
    assert words_of("something new") is WORDS["classification"]


def test_white_boxes_of_several_runs_are_one_where_their_balls_are():
    """Two surrogates' runs know 0.3 and 0.7 of one target's white box; poisoning points are made for one training set."""
    for scenario, expected in (("classification", [0.7, 0.7]), ("detection", [0.7, 0.7]), ("poisoning", [0.3, 0.7])):
        items = [combination(name, "ridge_low", 1.0, 0) for name in ("svm_high", "svm_low")]
        for item, value in zip(items, (0.3, 0.7), strict=True):
            item["tags"]["scenario"] = scenario
            item["curve"]["whitebox_error"] = value
        curves = frames(items).curves
        assert curves[curves["epsilon"] == 1].sort_values("surrogate")["whitebox_error"].tolist() == expected


@pytest.mark.parametrize(
    ("told", "where", "said"),
    [
        (["336"], {}, " (the whole study has 336 combinations)"),
        (["336", "2"], {}, ""),  # the study as it is now
        (["1"], {}, ""),  # seeds were added
        ([], {}, ""),
        (["336"], {"attack.norm": "l2"}, ""),  # a part was asked for
    ],
)
def test_a_study_of_which_combinations_were_left_out_says_so(told, where, said):
    study = frames([combination(name, "ridge_low", 1.0, 0) for name in ("svm_high", "svm_low")])
    parents = tuple(SimpleNamespace(data=SimpleNamespace(tags={"combinations": number})) for number in told)
    assert words.of_whole(replace(study, parents=parents, where=where)) == said
