"""A function of points as a target: its answers and nothing else, in the form that it wants its points in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, Cli, runs
from small_world import combination, dataset, points

from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import Predictor, Ridge
from transfer_exp.scenarios import remarks, run
from transfer_exp.scenarios.attacked import target_of
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.tracking.configuration import as_configuration
from transfer_exp.types import Floats, Grid, UserError
from transfer_exp.work import Work
from transfer_exp.work import fitted as trained

WEIGHT = np.array([[1.0, -1.0, 0.5], [0.0, 2.0, -1.0], [0.3, 0.3, 0.3], [-1.0, 0.0, 1.0]])


@pytest.fixture(autouse=True)
def _new_process() -> None:
    trained._recent.clear()


def scores(x: Floats, factor: float = 1.0) -> Floats:
    return factor * x @ WEIGHT


def probabilities(x: Floats) -> Floats:
    p = np.exp(scores(x))
    return np.asarray(p / p.sum(1, keepdims=True))


def named(x: Floats) -> Any:
    return np.array(["cat", "dog", "owl"])[scores(x).argmax(1)]


def rules(x: Floats, threshold: float = 0.0) -> Any:
    return (x[:, 0] < threshold).astype(int)


def model(function: Callable[..., Any], gives: Any = "scores", n_classes: int = 3, **options: Any) -> Any:
    learner = Predictor(function=function, gives=gives, **options)
    nobody = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    return learner.fit(*nobody, n_classes=n_classes, seed=0)


def test_logits_are_what_the_function_says() -> None:
    x, _ = points(3)
    expected = scores(x)
    assert np.array_equal(model(scores, batch_size=1000).logits(x), expected)
    assert np.array_equal(model(partial(scores, factor=2.0), batch_size=1000).logits(x), 2 * expected)
    z = model(probabilities, "probabilities").logits(x)
    assert z - z[:, :1] == pytest.approx(expected - expected[:, :1], abs=1e-12)
    decided = np.eye(3)[expected.argmax(1)]
    assert np.array_equal(model(lambda x: scores(x).argmax(1), "labels").logits(x), decided)
    assert np.array_equal(model(named, "labels", classes=("cat", "dog", "owl")).logits(x), decided)
    assert model(lambda x: torch.tensor(x) @ torch.tensor(WEIGHT)).logits(x) == pytest.approx(expected)
    assert [model(scores).gives, model(named, "labels").gives] == ["logits", "labels"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("shape", "expected"), [("flat", (4,)), ([2, 2], (2, 2)), ([1, 2, 2], (1, 2, 2))])
def test_points_are_handed_over_in_batches_of_the_wanted_shape_and_type(dtype: Any, shape: Any, expected: Any) -> None:
    x, _ = points(3, n=23)
    seen: list[Any] = []

    def look(given: Any) -> Any:
        seen.append(given.copy())
        return scores(given.reshape(len(given), 4).astype(float))

    found = model(look, shape=shape, dtype=dtype, batch_size=10).logits(x)
    assert [one.shape for one in seen] == [(10, *expected), (10, *expected), (3, *expected)]
    assert {str(one.dtype) for one in seen} == {dtype}
    assert np.array_equal(np.concatenate(seen).reshape(23, 4), x.astype(dtype))
    assert found == pytest.approx(scores(x.astype(dtype).astype(float)))


def test_the_shape_and_the_names_of_the_data_are_taken_where_they_are_wanted() -> None:
    data = dataset(3, shape=(2, 2), class_names=("cat", "dog", "owl"))
    by_data = Predictor(function=named, gives="labels", shape="data").on(data)
    assert by_data.shape == (2, 2)
    assert by_data.fit(data.x[:0], data.y[:0], n_classes=3, seed=0).n_classes == 3
    flat = Predictor(function=named, gives="labels").on(data).fit(data.x[:0], data.y[:0], n_classes=3, seed=0)
    assert np.array_equal(flat.logits(data.x[:]).argmax(1), scores(data.x[:]).argmax(1))
    with pytest.raises(UserError, match=r"named\.shape: expected data whose points have a shape, got clouds; set it"):
        Predictor(function=named, gives="labels", shape="data").on(dataset(3))
    keys = {signature(learner=Predictor(function=scores, gives="scores").on(one)) for one in (data, dataset(3))}
    assert len(keys) == 1  # what is not wanted does not count
    renamed = dataset(3, class_names=("a", "b", "c"))
    assert len({signature(learner=Predictor(function=named, gives="labels").on(one)) for one in (data, renamed)}) == 2


def spoil(x: Floats) -> Floats:
    found = scores(x)
    x[:] = np.nan
    return found


memory = np.zeros((5, 3))


def into_the_same_memory(x: Floats) -> Floats:
    memory[: len(x)] = scores(x)
    return memory[: len(x)]


def test_what_a_function_does_to_its_input_and_output_changes_nothing() -> None:
    x, _ = points(3, n=20)
    before = x.copy()
    for function in (spoil, into_the_same_memory):
        assert model(function, batch_size=5).logits(x) == pytest.approx(scores(before)), function
    assert np.array_equal(x, before)


def test_a_function_is_a_target_of_a_whole_combination_and_nothing_of_it_is_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = combination(Predictor(function=rules, gives="labels"))
    outcome = run(one, store)
    work = Work.of(one, store)
    y = one.dataset.y[work.split.test]
    assert outcome.curves["error"][0] == (rules(one.dataset.x[work.split.test]) != y).mean()
    assert outcome.curves["error"][0] < outcome.curves["error"][-1]
    assert not {"loss", "loss_cross_entropy", "whitebox_error"} & set(outcome.curves)
    assert "gradient_size" not in outcome.metrics
    assert len(list(tmp_path.glob("learner/*.npz"))) == 2  # the surrogate, on two training sets
    as_scores = run(combination(Predictor(function=lambda x: -x[:, 0], gives="scores")), store)
    assert as_scores.curves["error"] == outcome.curves["error"]
    x = one.dataset.x[work.split.test]
    expected = np.logaddexp(0, (2 * y - 1) * x[:, 0]).mean()
    assert as_scores.curves["loss_cross_entropy"][0] == pytest.approx(expected)


def test_one_function_is_one_target_for_all_repetitions_and_its_options_tell_it_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def key(seed: int = 0, **options: Any) -> str:
        target = Predictor(function=partial(rules, **options), gives="labels")
        return target_of(Work.of(combination(target, seed=seed), store)).key

    assert key(0) == key(1)
    assert len({key(), key(threshold=1.0), key(threshold=2.0)}) == 3


class Service:
    """Holds what no signature can know."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, x: Floats) -> Any:
        return rules(x, self.threshold)

    def ask(self, x: Floats) -> Any:
        return self(x)


@pytest.mark.parametrize("form", ["object", "method", "partial"])
def test_what_depends_on_an_object_is_made_anew_each_time(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)

    def outcome(threshold: float) -> list[float]:
        service = Service(threshold)
        forms = {"object": service, "method": service.ask, "partial": partial(service.ask)}
        one = combination(Predictor(function=forms[form], gives="labels"))
        assert str(as_configuration(one)["target"]["function"]["_target_"]).startswith("test_predictor.Service")
        assert one.signature() != one.signature()
        return run(one, store).curves["error"]

    errors = [outcome(threshold) for threshold in (0.0, 1.0, 0.0)]
    assert errors[0] == errors[2] != errors[1]
    assert not list(tmp_path.glob("noise_logits/*.npz"))


GRID = Grid(grid=(0.0, 0.05), reference=0.05, shown=(0.05,))


def test_it_is_no_surrogate_and_cannot_be_poisoned() -> None:
    guess = Predictor(name="rules", function=rules, gives="labels")
    with pytest.raises(UserError, match="surrogate: expected a learner with input gradients, got rules; it can only"):
        combination(Ridge(alpha=1.0), guess)
    with pytest.raises(UserError, match="target: expected a learner, to be trained on the poisoned data, got rules, which"):
        combination(guess, attack=Poisoning(), epsilon=GRID)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": 3}, r"int\.function: expected a function of points, got 3; set function\._target_ to package"),
        ({"gives": "logits"}, r"rules\.gives: expected one of labels, probabilities, scores, got logits"),
        ({"scale": "standard"}, r"rules\.scale: expected none for a model that is trained already, got standard"),
        ({"batch_size": 0}, r"rules\.batch_size: expected a number above 0, got 0"),
    ],
)
def test_bad_options_are_refused_by_name(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        Predictor(**{"function": rules, "gives": "labels", **options})


random = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("function", "gives", "options", "message"),
    [
        (rules, "scores", {}, r"rules: expected scores of shape \(3, 3\), got shape \(3,\)"),
        (rules, "labels", {"name": "mine", "classes": (3, 4, 5)}, r"mine \(rules\): expected labels among 3, 4, 5, got 1"),
        (rules, "labels", {"classes": (1, 2)}, r"rules\.classes: expected 3 classes, got 2"),
        (scores, "scores", {"shape": (3, 2)}, r"scores\.shape: expected a shape of 4 features, got \[3, 2\]"),
        (partial(scores, factor=np.nan), "scores", {}, "scores: expected scores that are finite, got NaN or inf"),
        (lambda x: random.normal(size=(len(x), 3)), "scores", {}, "expected the same logits for the same points"),
        (lambda x: scores(x - x.mean(0)), "scores", {}, "expected logits that do not depend on the other points of a batch"),
    ],
)
def test_a_function_that_gives_something_else_is_named(function: Any, gives: Any, options: Any, message: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(UserError, match=message):
        model(function, gives, **options).check(points(3, n=3)[0])


OWN = """
def classify(points, threshold=0.0):
    return ["nine" if one.mean() > threshold else "eight" for one in points]
"""


LAMBDAS = [lambda x: np.zeros(len(x), dtype=int), lambda x: np.ones(len(x), dtype=int)]


def test_lambdas_of_one_file_are_never_taken_for_one_another() -> None:
    first, second = (signature(learner=Predictor(function=one, gives="labels")) for one in LAMBDAS)
    assert first != second
    assert not first.storable


def test_a_function_of_ones_own_is_chosen_on_the_command_line(
    root: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remarks.log_once.cache_clear()  # another test may have had it told
    (tmp_path / "own_rules.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [word for word in SMALL if not word.startswith("target")] + ["target=predictor", "target.gives=labels"]
    words += ["target.function._target_=own_rules.classify", "+target.function.threshold=0.3", "target.shape=data"]
    done = cli(*words, "target.classes=[eight,nine]")
    assert done.rc == 0, done.stderr
    assert "target predictor is given: whether its training data are disjoint" in done.stderr + done.stdout
    (logged,) = runs(root)
    assert logged.data.params["target.function.threshold"] == "0.3"
    assert logged.data.params["target.shape"] == "[8, 8]"
    assert "source/own_rules.classify" in logged.data.tags
    assert "target predictor is given" in logged.data.tags["not_known"]
    for more, message in (
        ("target.classes=[]", "predictor (classify): expected labels among 8, 9, got"),
        (
            "target.function._target_=own_rules.nothing",
            "target.function._target_: expected module.name of a class or function, got own_rules",
        ),
    ):
        refused = cli(*words, more)
        assert refused.rc == 1
        assert message in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
