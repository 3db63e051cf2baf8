"""Settings as text, names of runs."""

from __future__ import annotations

import json

import pytest

from transfer_exp.tracking.run_names import run_name, varied_keys
from transfer_exp.tracking.settings import LONGEST, as_text, canonical, is_shortened, leaves, shortened


def test_leaves_are_those_that_can_change_a_result():
    config = {
        "seed": 3,
        "scale": "none",
        "threads": 1,
        "study": "s",
        "resume": True,
        "paths": {"root": "/r"},
        "tracking": {"uri": None},
        "hydra": {"x": 1},
        "hyperparameters": {"svm_low": {"C": 1}},
        "dataset": {"_target_": "a.b/c", "name": "n", "folder": "/d", "file": None, "store": "s", "where": "x/y",
                    "kind": "z", "split": {"test": 20, "target": None}, "digits": [8, 9.0]},
        "surrogate": {"name": "n", "C": 1.0, "file": "weights.pt", "options": {"a": {"b": 0.5}, "none": {}, "c": {"d*": 1}}},
        "attack": {"name": "evasion", "fixed": [], "tolerance": 5e-06, "on": True},
    }  # fmt: skip
    assert leaves(config) == {
        "seed": "3", "scale": "none", "threads": "1",
        "dataset._target_": "a.b/c", "dataset.kind": "z", "dataset.split.test": "20", "dataset.split.target": "None",
        "dataset.digits": "[8, 9]",
        "surrogate.C": "1", "surrogate.file": "weights.pt", "surrogate.options.a.b": "0.5", "surrogate.options.none": "{}",
        "surrogate.options.c": '{"d*": 1}',
        "attack.fixed": "[]", "attack.tolerance": "5e-06", "attack.on": "True",
    }  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [
        ("1", "1.0", "1e0", "+1"),
        ("0.001", "1e-3", ".001"),
        ("[4, 9]", "[4,9]", "[4.0, 9]"),
        ("None", "null"),
        ("True", "true"),
    ],
)
def test_texts_that_mean_one_value_are_one(written):
    assert {canonical(text) for text in written} == {written[0]}


@pytest.mark.parametrize("text", ["svm_low", "1.2.3", "[a", "-", "", "nan", "l2", "2026-01-01"])
def test_words_stay_words(text):
    assert canonical(text) == text


def test_numbers_in_lists_are_written_as_alone():
    assert as_text((1.0, 0.5, [2.0, None, "a"])) == '[1, 0.5, [2, null, "a"]]'
    assert as_text(1e300) == "1e+300"


@pytest.mark.parametrize("n", [LONGEST, LONGEST + 1, 5000])
def test_long_values_keep_their_beginning_and_are_equal_where_they_are(n):
    text = json.dumps([0] * n)[:n]
    cut = shortened(text)
    assert len(cut) <= LONGEST
    assert is_shortened(cut) == (n > LONGEST)
    assert text.startswith(cut[:400])
    assert shortened(f"{text[:-1]}x") != cut
    assert shortened(str(text)) == cut


JOBS = [["seed=0", "surrogate=svm_low", "surrogate.C=1", "+x=1"], ["seed=1", "surrogate=svm_low", "surrogate.C=2", "+x=1"]]


def test_keys_that_vary_in_a_sweep():
    assert varied_keys(JOBS) == ["seed", "surrogate.C"]


@pytest.mark.parametrize(
    ("overrides", "varied", "name"),
    [
        (JOBS[0], ["seed", "surrogate.C"], "svm_low (C 1) > ridge_low seed 0"),
        (JOBS[0], None, "svm_low (C 1) > ridge_low seed 0 x 1"),
        (["attack.norm=l2", "target.alpha=3", "target.scale=none", "dataset.digits=[4,9]"], None,
         "svm_low > ridge_low (alpha 3, scale none) seed 0 attack.norm l2 dataset.digits [4,9]"),
        (["strength=quick", "hyperparameters.svm_low.C=3"], None,
         "svm_low > ridge_low seed 0 strength quick hyperparameters.svm_low.C 3"),
        (["study=a", "paths.root=/r", "seed=0", "threads=2", "hydra.x=1", "experiment=e", "surrogate.name=q"], None,
         "svm_low > ridge_low seed 0"),
        (["attack.attack=mine\\:f"], None, "svm_low > ridge_low seed 0 attack.attack mine:f"),
    ],
)  # fmt: skip
def test_a_run_is_named_by_what_tells_it_apart(overrides, varied, name):
    options = {"seed": 0, "fraction": 1.0, "overrides": overrides, "varied": varied}
    assert run_name("svm_low", "ridge_low", **options) == name


def test_a_share_of_the_data_is_named_and_long_names_are_cut():
    name = run_name("a", "b", seed=0, fraction=0.2, overrides=["x=" + "1" * 500], varied=None)
    assert name.startswith("a on 0.2 of its data > b seed 0 x 11")
    assert len(name) == 200
