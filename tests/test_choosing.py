"""Which surrogate: centrality by hand, and rankings of invented surrogates whose regret is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from by_hand import Line
from small_world import combination, dataset
from synthetic_study import combination as invented
from synthetic_study import frames

from transfer_exp.attacks.poisoning import Poisoning, validation_gradients
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import halves, make_split
from transfer_exp.learners import MLP, Forest, LinearSVM, Ridge
from transfer_exp.measures import Measure
from transfer_exp.measures.choosing import centrality, centrality_of, gradient_size
from transfer_exp.report import choosing, choosing_drawing
from transfer_exp.scenarios import run
from transfer_exp.store import Store
from transfer_exp.types import Grid, Sizes, UserError

PANEL = {"a": Ridge(alpha=0.1), "b": Ridge(alpha=30.0), "c": Ridge(alpha=900.0)}
EPSILON = "epsilon == 1"


def test_undefined_cosines_do_not_count() -> None:
    cosines = np.array([[0.2, np.nan, np.nan], [0.6, 0.3, np.nan]])
    np.testing.assert_allclose(centrality_of(cosines), [0.4, 0.3, np.nan])
    assert np.isnan(centrality_of(np.zeros((0, 2)))).all()


def test_a_panel_of_one_or_without_gradients_is_refused() -> None:
    with pytest.raises(UserError, match=r"measures.centrality.panel: expected at least 2 learners, got 1"):
        centrality(panel={"a": Ridge(alpha=1.0)})
    with pytest.raises(UserError, match=r"measures.centrality.panel.f: expected a learner with input gradients"):
        centrality(panel={"a": Ridge(alpha=1.0), "f": Forest()})


ERRORS = {  # (seed, target): error under the attacks on a, b, c
    (0, "svm_high"): (0.5, 0.4, 0.1),
    (0, "svm_low"): (0.2, 0.4, 0.3),
    (1, "svm_high"): (0.6, 0.6, 0.2),
    (1, "svm_low"): (0.1, 0.3, 0.4),
}
CENTRALITY = {0: (0.5, 0.9, 0.1), 1: (0.8, 0.2, 0.5)}
V = {0: (0.1, 0.5, 0.3), 1: (0.4, 0.2, 0.9)}
SURROGATES = ("rbf_high", "rbf_low", "ridge_low")


def items(*, measured: bool = True, errors: dict[tuple[int, str], tuple[float, ...]] = ERRORS) -> list[dict]:
    made = []
    for (seed, target), (k, surrogate) in product(errors, enumerate(SURROGATES)):
        item = invented(surrogate, target, 1.0, seed)
        error = errors[seed, target][k]
        item["curve"]["error"] = np.where(item["curve"]["epsilon"] == 1, error, 0.5)
        own = {"loss_variability": V[seed][k], "gradient_alignment": error}
        item["metrics"] |= own | ({"centrality": CENTRALITY[seed][k]} if measured else {})
        made.append(item)
    return made


@pytest.fixture(scope="module")
def study():
    return frames(items())


@pytest.fixture(scope="module")
def summary(study):
    return choosing.summary(choosing.cells(study)).query(EPSILON).set_index("ranking")


def test_regret_hits_and_rank_correlation_are_those_computed_by_hand(summary) -> None:
    row = summary.loc["centrality"]  # chooses b in seed 0 and a in seed 1
    assert row["error"] == pytest.approx((0.4 + 0.4 + 0.6 + 0.1) / 4)
    assert row["best"] == pytest.approx((0.5 + 0.4 + 0.6 + 0.4) / 4)
    assert row["regret"] == pytest.approx(((1 - 0.8 / 0.9) + (1 - 0.7 / 1.0)) / 2)
    on_average = (0.55 + 0.35) / 2  # of svm_high, whose best is a; of svm_low, b or c
    assert row["regret_on_average"] == pytest.approx(1 - 0.375 / on_average)
    assert row["hits"] == 2 / 4
    assert row["kendall"] == pytest.approx((1 / 3 + 1 / 3 + 0 - 1 / 3) / 4)
    assert row["worst_target"] == pytest.approx(1 - 0.25 / 0.4)  # of svm_low
    assert (row["known_to"], row["n"]) == ("the attacker", 2)


def test_the_controls_are_those_computed_by_hand(summary) -> None:
    row = summary.loc[choosing.RANDOM]
    assert row["regret"] == pytest.approx(((1 - (1 / 3 + 0.3) / 0.9) + (1 - (1.4 / 3 + 0.8 / 3) / 1.0)) / 2)
    assert row["hits"] == pytest.approx((1 + 1 + 2 + 1) / 12)
    row = summary.loc[choosing.SAME]  # b in both: the best on the other seed
    assert row["surrogate"] == "rbf_low"
    assert row["regret"] == pytest.approx(((1 - 0.8 / 0.9) + (1 - 0.9 / 1.0)) / 2)
    row = summary.loc["R with the target"]  # planted: the error itself
    assert (row["regret"], row["hits"], row["known_to"]) == (0, 1, "an insider")


def test_two_measures_together_go_by_their_mean_rank(study) -> None:
    cells = choosing.cells(study).query(EPSILON)
    cells = cells[cells["ranking"] == "centrality and V"].set_index(["seed", "target"])
    # Seed 0: ranks 2, 3, 1 and 3, 1, 2: a. Seed 1: 3, 1, 2 and 2, 3, 1: a again.
    assert cells["error"].to_dict() == {
        (0, "svm_high"): 0.5, (0, "svm_low"): 0.2, (1, "svm_high"): 0.6, (1, "svm_low"): 0.1
    }  # fmt: skip


def test_each_target_has_a_row_with_the_surrogate_chosen_most_often(study) -> None:
    rows = choosing.by_target(choosing.cells(study), study.learners).query(EPSILON).set_index(["ranking", "target"])
    row = rows.loc["centrality", "svm_high"]
    assert (row["error"], row["best"]) == (pytest.approx(0.5), pytest.approx(0.55))
    assert row["regret"] == pytest.approx(1 - 0.5 / 0.55)
    assert rows.loc[("V", "svm_low"), "surrogate"] == "rbf_high"  # a, then b: the first in the alphabet
    assert rows.loc[(choosing.RANDOM, "svm_low"), "surrogate"] != rows.loc[(choosing.RANDOM, "svm_low"), "surrogate"]


def test_what_each_ranking_loses_stands_beside_the_others_by_strength(study) -> None:
    rows = choosing.by_strength(study, choosing.summary(choosing.cells(study))).set_index("ranking")
    columns = [column for column in rows if column.startswith("regret at ")]
    assert "regret at epsilon 1" in columns
    lost = ((1 - 0.8 / 0.9) + (1 - 0.7 / 1.0)) / 2
    assert rows.loc["centrality", "regret at epsilon 1"] == pytest.approx(lost)
    # At all other strengths every surrogate reaches 0.5: nothing can be lost.
    assert (rows[columns].drop(columns="regret at epsilon 1") == 0).all(axis=None)
    assert rows.loc["centrality", "mean"] == pytest.approx(lost / len(columns))
    assert len(columns) > 1
    assert rows.index[0] == "R with the target"
    assert (np.diff(rows["mean"]) >= 0).all()
    assert rows.loc[choosing.RANDOM, "known_to"] == "nobody"


def test_a_study_says_it_in_words_and_draws_it(study, summary) -> None:
    rows = choosing.summary(choosing.cells(study))
    told = choosing_drawing.in_words(study, rows)
    assert told[0] == "At epsilon 1, the best surrogate for each target reaches 47.5% error on average."
    assert "The most central of the attacker's surrogates reaches 37.5%, a regret of 20.6%." in told
    assert "A surrogate drawn at random reaches 34.2%, a regret of 28.1%." in told
    (picture,) = choosing_drawing.pictures(study, rows)
    labels = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert labels[0] == "R with the target"
    assert set(labels) == set(summary.index)


def test_of_equal_surrogates_any_is_the_best_and_nothing_is_lost_up_to_the_last_digit() -> None:
    alike = dict.fromkeys(ERRORS, (0.1, 0.1, 0.1))  # their mean is larger than 0.1, in the last digit
    study = frames(items(errors=alike))
    assert np.mean(alike[0, "svm_high"]) > 0.1
    cells = choosing.cells(study)
    rows = choosing.summary(cells).query(EPSILON)
    assert (rows[["regret", "regret_on_average", "worst_target"]] == 0).all(axis=None)
    assert (choosing.by_target(cells, study.learners).query(EPSILON)["regret"] == 0).all()
    assert not np.signbit(rows["regret"]).any()  # -0 would be shown
    (told,) = choosing_drawing.in_words(study, rows)
    assert told.startswith("At epsilon 1, all surrogates are equally good for each target (10.0% error on average):")
    none = frames(items(errors=dict.fromkeys(ERRORS, (0.0, 0.0, 0.0))))
    (told,) = choosing_drawing.in_words(none, choosing.summary(choosing.cells(none)))
    assert told == "At epsilon 1, no attack leads to any error: there is nothing to choose."


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (
            "python -m transfer_exp -m surrogate=rbf_high,rbf_low 'target=glob(*_high)' seed=0,1",
            "python -m transfer_exp -m 'target=glob(*_high)' seed=0,1 surrogate=svm_high,svm_low,rbf_low",
        ),
        (
            "python -m transfer_exp experiment=audit audit.panel=[rbf_high,rbf_low] dataset=digits",
            "python -m transfer_exp experiment=audit dataset=digits 'audit.panel=[svm_high,svm_low,rbf_low]'",
        ),
        (
            "python -m transfer_exp experiment=mine surrogate=bagged surrogate.n=1,2 learner@surrogate.learner=mlp_low",
            "python -m transfer_exp experiment=mine surrogate=svm_high,svm_low,rbf_low",
        ),
        (None, ""),  # without a sweep's command there is none that is the same study
    ],
)
def test_of_two_surrogates_it_is_said_how_many_a_choice_takes(command: str | None, more: str) -> None:
    two = frames([item for item in items() if item["params"]["surrogate"] != "ridge_low"])
    if command:
        parent = SimpleNamespace(data=SimpleNamespace(tags={"command": command}))
        two = replace(two, parents=(parent,))
    (told,) = choosing_drawing.in_words(two, choosing.summary(choosing.cells(two)))
    few = "A choice takes 3 surrogates or more that attack the same target; here a target has met 2."
    assert told == (f"{few} With more: {more}" if more else few)


def test_without_centrality_a_study_says_how_to_have_it_and_with_two_surrogates_there_is_no_table() -> None:
    study = frames(items(measured=False))
    rows = choosing.summary(choosing.cells(study))
    assert "centrality" not in set(rows["ranking"])
    assert choosing_drawing.in_words(study, rows)[-1].startswith("Centrality was not measured")
    two = frames([item for item in items() if item["params"]["surrogate"] != "ridge_low"])
    rows = choosing.summary(choosing.cells(two))
    assert rows.empty
    assert choosing.by_strength(two, rows).empty
    assert list(choosing_drawing.pictures(two, rows)) == []


def test_one_seed_has_no_other_to_choose_by_and_a_surrogate_without_the_measure_is_not_chosen() -> None:
    some = [item for item in items() if item["params"]["seed"] == 0]
    for item in some:
        if item["params"]["surrogate"] == "rbf_low":
            del item["metrics"]["centrality"]
    rows = choosing.summary(choosing.cells(frames(some))).query(EPSILON).set_index("ranking")
    assert choosing.SAME not in rows.index
    assert rows.loc["centrality", "surrogate"] == "rbf_high"
    assert rows.loc["centrality", "regret"] == pytest.approx(1 - (0.5 + 0.2) / (0.5 + 0.4))  # b, the best, counts as best


def test_with_a_goal_what_the_attacker_wants_is_that_goal() -> None:
    made = items()
    for item in made:
        item["params"]["attack.goal"] = "next"
        item["curve"]["targeted_success"] = 1 - item["curve"]["error"]
    rows = choosing.summary(choosing.cells(frames(made))).query(EPSILON).set_index("ranking")
    assert rows.loc["R with the target", "best"] == pytest.approx((0.9 + 0.8 + 0.8 + 0.9) / 4)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """A combination without and with the measures, and one more of the same surrogate, on one store."""
    store = Store(tmp_path_factory.mktemp("store"))
    plain = combination(Ridge(alpha=5.0), PANEL["b"])
    own = (centrality(panel=PANEL), gradient_size())
    other = replace(plain, target=Ridge(alpha=50.0), measures=own)
    return run(plain, store), run(replace(plain, measures=own), store), run(other, store), store


def test_centrality_is_the_mean_cosine_with_the_others_on_the_other_half(outcomes) -> None:
    data = dataset()
    rows = make_split(data, seed=0).surrogate
    first, second = halves(data, rows)
    lines = {
        (name, k): Line.fit(data.x[half], data.y[half], learner.alpha).weight
        for (name, learner), (k, half) in product(PANEL.items(), enumerate((first, second)))
    }
    cosines = []
    for k, name in product((0, 1), "ac"):  # of linear models the same in all points
        mine, theirs = lines["b", k], lines[name, 1 - k]
        cosines.append(mine @ theirs / np.linalg.norm(mine) / np.linalg.norm(theirs))
    assert outcomes[1].metrics["centrality"] == pytest.approx(np.mean(cosines), rel=1e-9)


def test_the_size_of_its_gradients_is_that_of_the_cross_entropy(outcomes) -> None:
    data = dataset()
    split = make_split(data, seed=0)
    line = Line.fit(data.x[split.surrogate], data.y[split.surrogate], PANEL["b"].alpha)
    margins = (2 * data.y[split.test] - 1) * line(data.x[split.test])
    expected = np.mean(1 / (1 + np.exp(margins))) * np.linalg.norm(line.weight)
    assert outcomes[1].metrics["surrogate_gradient_size"] == pytest.approx(expected, rel=1e-9)


def test_they_change_nothing_else_and_are_made_once_a_surrogate(outcomes) -> None:
    plain, measured, other, store = outcomes
    added = {"centrality", "surrogate_gradient_size"}
    assert {name: value for name, value in measured.metrics.items() if name not in added} == plain.metrics
    np.testing.assert_equal(measured.curves, plain.curves)
    assert other.metrics["centrality"] == measured.metrics["centrality"]
    assert len(list(store.root.glob("panel_alignments/**/*.npz"))) == 1


def test_halves_share_no_row_and_no_group_and_keep_the_class_shares() -> None:
    data = dataset(group=np.arange(150) // 2)
    rows = make_split(dataset(), seed=3).surrogate
    first, second = halves(dataset(), rows)
    assert sorted([*first, *second]) == sorted(rows)
    assert len(first) == len(second) == 20
    assert data.y[first].mean() == data.y[second].mean() == 0.5
    first, second = halves(data, rows)
    assert not set(first // 2) & set(second // 2)
    assert len(first) == 20 > len(second)


def test_of_poisoning_it_is_the_cosine_of_the_gradients_in_the_starts(tmp_path) -> None:
    digits = load_digits(name="d", classes=[8, 9], split=Sizes(target=30, surrogate=40, validation=30, test=30))
    grid = Grid(grid=(0.0, 0.1), reference=0.1, shown=(0.1,))
    panel = {"own": Ridge(alpha=10.0), "other": LinearSVM(C=0.01), "network": MLP(hidden=(4,))}
    one = combination(Ridge(alpha=1.0), panel["own"], dataset=digits, attack=Poisoning(), epsilon=grid)
    seen = []
    keep = Measure(name="starts", heading="h", of="pair", compute=lambda a: seen.append(a.black_box) or np.zeros(1))
    outcome = run(replace(one, measures=(centrality(panel=panel), keep)), Store(tmp_path))
    split = make_split(digits, seed=0)
    validation = digits.x[split.validation], digits.y[split.validation]
    of = {}
    for (name, learner), (k, half) in product(list(panel.items())[:2], enumerate(halves(digits, split.surrogate))):
        starts = {"points": seen[0].start_points, "labels": seen[0].labels}
        of[name, k] = validation_gradients(learner, digits.x[half], digits.y[half], *validation, **starts)
    pairs = [(of["own", k], of["other", 1 - k]) for k in (0, 1)]
    cosines = [(a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1) for a, b in pairs]
    assert outcome.metrics["centrality"] == pytest.approx(np.mean(cosines), rel=1e-6)
