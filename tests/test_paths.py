"""Paths: planted trends and turns are found, values by hand, what is no path is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic_study import combination, frames

from transfer_exp.measures import Measure, registry
from transfer_exp.report import path_drawing, paths, tables
from transfer_exp.report.paths import Path

VALUES = [0.001, 0.01, 0.1, 1.0, 10.0]
PANEL = ["rbf_high", "mlp_low"]
SEEDS = range(7)
NOISE = 0.001


def item(surrogate: str, target: str, seed: int, *, role: str = "surrogate", error: float = 0.5, **settings: object) -> dict:
    """A combination in which one role has these settings and the target, at epsilon 1, this error."""
    made = combination(surrogate, target, 1.0, seed)
    for name in ("C", "depth"):
        made["params"].pop(f"surrogate.{name}", None)
        made["params"].pop(f"target.{name}", None)
    made["params"] |= {f"{role}.{name}": value for name, value in settings.items()}
    made["curve"].loc[made["curve"]["epsilon"] == 1.0, "error"] = error
    return made


def swept(shape, *, values=VALUES, seeds=SEEDS, panel=PANEL) -> list[dict]:
    """An SVM as surrogate along C; its error is ``shape(place, seed, target)``."""
    return [
        item("svm_low", target, seed, error=shape(k, seed, target), C=value)
        for seed in seeds
        for k, value in enumerate(values)
        for target in panel
    ]


def trend(items: list[dict], quantity: str = "transfer as surrogate") -> pd.Series:
    found = paths.trends(frames(items))
    (row,) = (row for _, row in found[found["quantity"] == quantity].iterrows())
    return row


def wobble(k: int, seed: int) -> float:
    return NOISE * math.sin(3.7 * k + 5.3 * seed)


def test_the_path_of_a_swept_number_is_in_its_order():
    (found,) = paths.paths(frames(swept(lambda k, seed, target: 0.5, values=[10.0, 0.001, 0.1])))
    names = tuple(f"svm_low[C={value}]" for value in ("0.001", "0.1", "10"))
    assert found == Path(role="surrogate", learner="svm_low", number="C", fixed="", values=(0.001, 0.1, 10.0), names=names)


def test_two_values_or_words_are_no_path():
    assert not paths.paths(frames(swept(lambda k, seed, target: 0.5, values=[0.1, 1.0])))
    words = [item("svm_low", "mlp_low", seed, scale=word) for seed in SEEDS for word in ("none", "standard", "minmax")]
    assert not paths.paths(frames(words))
    assert not paths.paths(frames([item(s, "mlp_low", seed) for seed in SEEDS for s in ("svm_low", "svm_high", "rbf_low")]))


def test_of_two_numbers_each_is_a_path_for_every_value_of_the_other():
    items = [
        item("rbf_low", "mlp_low", seed, C=c, gamma=gamma)
        for seed in SEEDS
        for c in (1, 10, 100)
        for gamma in (0.01, 0.1, 1)
    ]
    found = [(path.number, path.fixed, path.values) for path in paths.paths(frames(items))]
    along_c = [("C", f"gamma {gamma}", (1.0, 10.0, 100.0)) for gamma in ("0.01", "0.1", "1")]
    along_gamma = [("gamma", f"C {c}", (0.01, 0.1, 1.0)) for c in ("1", "10", "100")]
    assert sorted(found) == sorted(along_c + along_gamma)


def test_widths_and_depths_are_numbers():
    def values(hidden: list[str]) -> list[tuple[float, ...]]:
        items = [item("mlp_high", "svm_low", seed, hidden=layers) for seed in range(2) for layers in hidden]
        return [path.values for path in paths.paths(frames(items))]

    assert values(["[50, 50]", "[5, 5]", "[150, 150]"]) == [(5.0, 50.0, 150.0)]
    assert values(["[20, 20]", "[20]", "[20, 20, 20]"]) == [(1.0, 2.0, 3.0)]
    assert values(["[20, 20]", "[10]", "[20, 20, 20]"]) == []


def test_a_curve_is_the_mean_over_the_panel_that_all_values_have_met():
    """A target that one value alone has met would lift that value alone."""
    items = swept(lambda k, seed, target: 0.1 * k + (0.2 if target == "mlp_low" else 0.0) + 0.01 * seed)
    items += [item("svm_low", "forest_high", seed, error=1.0, C=VALUES[0]) for seed in SEEDS]
    curve = paths.curves(frames(items))
    own = curve[curve["quantity"] == "transfer as surrogate"]
    assert own["value"].tolist() == VALUES
    assert own["mean"].tolist() == pytest.approx([0.1 * k + 0.1 + 0.03 for k in range(5)])
    # seeds 0 to 6 times 0.01: standard deviation 0.0216, Student's t with 3 degrees of freedom 3.182
    half = 3.1824463 * 0.01 * math.sqrt(28 / 6) / math.sqrt(7)
    assert own["high"].to_numpy() - own["mean"].to_numpy() == pytest.approx(half, rel=1e-6)
    assert own["mean"].to_numpy() - own["low"].to_numpy() == pytest.approx(half, rel=1e-6)
    assert own["n"].tolist() == [7] * 5


def test_a_value_that_was_run_under_another_name_too_keeps_the_whole_panel():
    """Of svm_high and svm_low with the same C each combination runs once, under either name."""

    def shape(k: int, seed: int, target: str) -> float:
        return 0.1 * k + (0.2 if target == "mlp_low" else 0.0)

    items = swept(shape)
    (path,) = paths.paths(frames(items))
    expected = paths.curves(frames(items))
    for own in items:
        if own["params"]["surrogate.C"] == 10.0 and own["params"]["target"] == "mlp_low":
            own["params"] |= {"surrogate": "svm_high", "surrogate.complexity": "high"}
    study = frames(items)
    (renamed,) = paths.paths(study)
    assert (renamed.learner, renamed.values) == (path.learner, path.values)
    assert renamed.names == (*path.names[:-1], "svm_high")
    pd.testing.assert_frame_equal(paths.curves(study), expected)
    matrix = tables.error_matrix(study, 1.0)
    assert matrix.index.tolist() == ["svm_high", *path.names[:-1]]
    assert not matrix.isna().any(axis=None)
    assert study.learners.level("svm_high") == "high"


def test_a_learner_of_another_family_or_c_is_another():
    items = swept(lambda k, seed, target: 0.1 * k)
    items += [
        item(name, target, seed, C=c)
        for name, c in (("svm_high", 100), ("rbf_low", 10))
        for target in PANEL
        for seed in SEEDS
    ]
    names = set(tables.error_matrix(frames(items), 1.0).index)
    assert names == {"svm_high", "rbf_low", *(f"svm_low[C={c:g}]" for c in VALUES)}


def test_a_seed_without_one_of_the_values_does_not_count():
    items = [
        i
        for i in swept(lambda k, seed, target: 0.1 * k)
        if not (i["params"]["seed"] == 3 and i["params"]["surrogate.C"] == 0.1)
    ]
    assert trend(items)["n"] == 6


@pytest.mark.parametrize(("slope", "reading"), [(0.1, "rises"), (-0.1, "falls")])
def test_a_planted_trend_is_found(slope, reading):
    row = trend(swept(lambda k, seed, target: 0.5 + slope * k + wobble(k, seed)))
    assert row["reading"] == reading
    assert row["tau"] == pytest.approx(math.copysign(1, slope))
    assert (row["rises"], row["falls"]) == ((7, 0) if slope > 0 else (0, 7))
    assert row["p_value"] == pytest.approx(2 / 2**7)
    assert row["turn_seeds"] == 0


@pytest.mark.parametrize(
    ("sign", "kind", "reading"), [(1, "largest", "rises, then falls"), (-1, "smallest", "falls, then rises")]
)
def test_a_planted_turn_is_found_where_it_is(sign, kind, reading):
    row = trend(swept(lambda k, seed, target: 0.5 - sign * 0.05 * abs(k - 3) + wobble(k, seed)))
    assert row["reading"] == f"{reading}: {kind} at C 1"
    assert (row["turn"], row["turn_at"], row["turn_seeds"]) == (kind, 1.0, 7)
    assert row["turn_p_value"] == pytest.approx(2 / 2**7)


def test_a_seed_that_chose_the_turn_does_not_count_for_it():
    """Each seed has a peak of its own inside: no other seed sees it there."""
    row = trend(swept(lambda k, seed, target: 0.5 + (0.3 if k == 1 + seed % 3 else 0.0) - 0.01 * k))
    assert row["turn_seeds"] < 7
    assert not row["reading"].startswith("rises, then")


def test_nothing_is_no_trend():
    values = np.random.default_rng(3).random((7, 5))
    assert trend(swept(lambda k, seed, target: values[seed, k]))["reading"] == "no trend that is significant"


def test_few_seeds_give_no_reading():
    assert trend(swept(lambda k, seed, target: 0.1 * k, seeds=range(5)))["reading"] == "5 repetitions; a verdict needs 6"


def test_holms_correction_is_over_the_paths_of_one_quantity():
    """Two paths, one of which is significant by itself and not among two: 2 x 1/32 with six seeds."""
    six = range(6)
    items = swept(lambda k, seed, target: 0.5 + 0.1 * k, seeds=six)
    other = swept(lambda k, seed, target: 0.5 + 0.05 * ((k * (seed + 2)) % 5), seeds=six)
    for own in other:
        own["params"] |= {"surrogate": "ridge_low", "surrogate.alpha": own["params"].pop("surrogate.C")}
    found = paths.trends(frames(items + other))
    own = found[found["quantity"] == "transfer as surrogate"].set_index("learner")
    assert own.loc["svm_low", "p_value"] == pytest.approx(2 / 2**6)
    assert own.loc["svm_low", "p_holm"] == pytest.approx(2 * 2 / 2**6)
    assert (
        own.loc["svm_low", "reading"] == "6 repetitions; a verdict needs 7"
    )  # 2 x 2/128: the correction allows none with six


def test_what_a_target_has_is_taken_in_that_role():
    items = [
        item("rbf_high", "svm_low", seed, role="target", error=0.1 * k, C=c) for seed in SEEDS for k, c in enumerate(VALUES)
    ]
    for own in items:
        own["metrics"]["gradient_size"] = float(own["params"]["target.C"])
        own["metrics"]["loss_variability"] = -1.0  # of the surrogate: not of this path
    found = paths.trends(frames(items)).set_index("quantity")
    assert found.loc[["transfer as target", "S, size of gradients"], "reading"].tolist() == ["rises", "rises"]
    assert not {"V, variability of the loss", "transfer as surrogate"} & set(found.index)


def test_a_figure_has_a_panel_a_quantity_and_a_line_for_each_other_number():
    items = [
        item("rbf_low", target, seed, C=c, gamma=gamma)
        for target in PANEL for seed in range(3) for c in (1, 10, 100) for gamma in (0.01, 0.1)
    ]  # fmt: skip
    study = frames(items)
    (picture,) = path_drawing.pictures(study, paths.curves(study))
    assert picture.stem == "path_rbf_low_C"
    shown = [ax for ax in picture.figure.axes if ax.axison]
    assert [ax.get_title() for ax in shown] == ["transfer as surrogate", "V, variability of the loss"]
    assert [[line.get_label() for line in ax.get_lines()] for ax in shown] == [["gamma 0.01", "gamma 0.1"]] * 2
    assert {ax.get_xscale() for ax in shown} == {"log"}
    assert [tick.get_text() for tick in shown[0].get_xticklabels()] == ["1", "10", "100"]


def test_a_path_from_0_on_is_drawn_at_even_steps_with_short_labels():
    decays = [0, 1e-5, 1e-4, 1e-3, 0.01, 0.1]
    study = frames([item("mlp_high", "svm_low", seed, weight_decay=decay) for seed in range(3) for decay in decays])
    (picture,) = path_drawing.pictures(study, paths.curves(study))
    ax = picture.figure.axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1e-5", "1e-4", "0.001", "0.01", "0.1"]
    places = ax.transData.transform([(decay, 0.5) for decay in decays])[:, 0]
    assert np.diff(places) == pytest.approx(np.diff(places)[0])


def test_what_runs_have_measured_beside_the_suites_measures_is_shown_along_paths():
    """Of the surrogate, not of the pair: a measure that is twice the place of the value."""
    own = Measure(name="roughness", heading="roughness of the loss", of="surrogate", symbol="Q")
    pair = Measure(name="likeness", heading="likeness", of="pair")
    made = swept(lambda k, seed, target: 0.5)
    for item_ in made:
        item_["metrics"] |= {"roughness": 2.0 * VALUES.index(item_["params"]["surrogate.C"]), "likeness": 1.0}
    with registry.extended([own, pair]):
        study = replace(frames(made), measures=(own, pair))
        curves = paths.curves(study)
        (drawn,) = path_drawing.pictures(study, curves)
    rough = curves[curves["quantity"] == "roughness"]
    assert rough["mean"].tolist() == [0, 2, 4, 6, 8]
    assert "likeness" not in set(curves["quantity"])
    titles = {ax.get_title() for ax in drawn.figure.axes}
    assert {"roughness", "transfer as surrogate"} <= titles
    assert "roughness" not in set(paths.curves(frames(made))["quantity"])
