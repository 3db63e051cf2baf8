"""Any scikit-learn classifier as a target: its own decisions and probabilities, stored without pickle or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import skops.io
from by_hand import Line, SpyRidge
from conftest import SMALL, Cli, runs
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from small_world import combination, points

from transfer_exp import seeds
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Ridge, Sklearn
from transfer_exp.learners import sklearn_model as room
from transfer_exp.learners.sklearn_model import SklearnModel
from transfer_exp.margin import predict
from transfer_exp.measures.losses import losses
from transfer_exp.scenarios import Outcome, run
from transfer_exp.scenarios.attacked import target_of
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import Floats, Grid, Ints, UserError, dense
from transfer_exp.work import Work
from transfer_exp.work import fitted as trained

CLASSIFIERS = {
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
    "neighbours": KNeighborsClassifier(2),  # every second point is a tie
    "forest": RandomForestClassifier(6, max_depth=3),  # so many are
    "bayes": GaussianNB(),
    "search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3),
    "vote": VotingClassifier([("a", GaussianNB()), ("b", KNeighborsClassifier(3))], voting="soft"),
    "svm": SVC(),
    "ridge": RidgeClassifier(),
    "sgd": SGDClassifier(),
    "hard vote": VotingClassifier([("a", GaussianNB()), ("b", KNeighborsClassifier(3))]),
    "centroid": NearestCentroid(),  # does not decide for its largest probability
}


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in memory, nothing has been said yet."""
    trained._recent.clear()
    room._say_once.cache_clear()
    Spy.seen.clear()
    SpyRidge.seen.clear()


def fit(estimator: Any, n_classes: int, seed: int = 0, **options: Any) -> tuple[SklearnModel, Floats, Ints]:
    """Fitted to 80 points; 200 others."""
    x, y = points(n_classes, n=280)
    model: Any = Sklearn(estimator=estimator, **options).fit(x[:80], y[:80], n_classes=n_classes, seed=seed)
    return model, x[80:], y[80:]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_decisions_are_those_of_predict_and_the_cross_entropy_that_of_the_probabilities(name: str, n_classes: int) -> None:
    model, x, y = fit(CLASSIFIERS[name], n_classes)
    z, decided = model.logits(x), model.estimator.predict(x)
    assert np.array_equal(predict(z), decided)
    assert model.loss_name is None
    assert (model.gives == "labels") == (name == "hard vote")
    if hasattr(model.estimator, "predict_proba"):
        p = model.estimator.predict_proba(x)
        told = p.argmax(1) == decided
        assert told.mean() > (0.8 if name == "centroid" else 0.99)
        expected = log_loss(y[told], p[told], labels=range(n_classes))
        assert losses(z[told], y[told], "cross_entropy").mean() == pytest.approx(expected, rel=1e-9)
    elif name != "hard vote":
        f = model.estimator.decision_function(x)
        if n_classes == 2:
            assert np.array_equal(z[:, 1] - z[:, 0], f)
        else:
            assert (z != f).sum() <= (0 if name != "svm" else 0.05 * z.size)  # libsvm votes


def test_an_estimator_with_a_threshold_of_its_own_keeps_it() -> None:
    model, x, _ = fit(FixedThresholdClassifier(LogisticRegression(), threshold=0.9), 2)
    p = model.estimator.predict_proba(x)[:, 1]
    z = model.logits(x)
    assert np.array_equal(predict(z), p >= 0.9)
    contradicted = (p > 0.5) & (p < 0.9)
    assert contradicted.sum() > 5
    assert z[contradicted, 0] == pytest.approx(z[contradicted, 1])


def by_hand(estimator: Any) -> tuple[Outcome, Any]:
    """Ridge as a surrogate: the worst step in l2, far from the box, is against its weights."""
    one = combination(Sklearn(estimator=estimator), seed=3)
    data, split = one.dataset, make_split(one.dataset, seed=3)
    x, y = dense(data.x), data.y
    line = Line.fit(x[split.surrogate], y[split.surrogate], 1.0)
    step = line.weight / np.linalg.norm(line.weight)
    target = estimator.fit(x[split.target], y[split.target])
    moved = [x[split.test] - e * np.outer(2 * y[split.test] - 1, step) for e in one.epsilon.grid]
    return one, {"target": target, "moved": moved, "y": y[split.test]}


def test_a_pipeline_as_target_of_a_whole_combination_by_hand(tmp_path: Path) -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("knn", KNeighborsClassifier(7))])
    one, hand = by_hand(pipeline)
    outcome = run(one, Store(tmp_path))  # type: ignore[arg-type]
    target, y = hand["target"], hand["y"]
    errors = [float((target.predict(x) != y).mean()) for x in hand["moved"]]
    assert outcome.curves["error"] == errors
    assert errors[0] <= errors[1] < errors[2]
    entropies = [log_loss(y, target.predict_proba(x)) for x in hand["moved"]]
    assert outcome.curves["loss_cross_entropy"] == pytest.approx(entropies, rel=1e-9)
    right = target.predict(hand["moved"][0]) == y
    successes = [float((target.predict(x) != y)[right].mean()) for x in hand["moved"]]
    assert outcome.curves["success"] == successes
    absent = {"loss", "whitebox_error", "whitebox_success", "perturbation_correlation"}
    assert not absent & set(outcome.curves)
    assert not {"gradient_size", "gradient_alignment"} & set(outcome.metrics)


def test_where_labels_are_all_no_loss_is_made_up(tmp_path: Path) -> None:
    one, hand = by_hand(CLASSIFIERS["hard vote"])
    outcome = run(one, Store(tmp_path))  # type: ignore[arg-type]
    assert outcome.curves["error"] == [float((hand["target"].predict(x) != hand["y"]).mean()) for x in hand["moved"]]
    assert not {"loss", "loss_cross_entropy"} & set(outcome.curves)
    assert "loss_variability" in outcome.metrics  # of the surrogate


@pytest.mark.parametrize("labels_only", [False, True])
def test_a_target_is_trained_again_on_poisoned_data(labels_only: bool, tmp_path: Path) -> None:
    grid = Grid(grid=(0.0, 0.05), reference=0.05, shown=(0.05,))
    estimator = CLASSIFIERS["hard vote"] if labels_only else LogisticRegression()
    options = {"attack": Poisoning(n_iter=2), "epsilon": grid}
    one = combination(Sklearn(estimator=estimator), **options)
    store = Store(tmp_path)
    outcome = run(one, store)
    split = make_split(one.dataset, seed=0)
    x, y = dense(one.dataset.x), one.dataset.y
    (poison,) = [np.load(file) for file in tmp_path.glob("poisoned/*.npz")]
    more = round(0.05 / 0.95 * len(split.target))
    for k, n in ((0, 0), (1, more)):
        training = np.concatenate([x[split.target], poison["points"][:n]])
        labels = np.concatenate([y[split.target], poison["labels"][:n]])
        by_itself = estimator.fit(training, labels)
        assert outcome.curves["error"][k] == (by_itself.predict(x[split.test]) != y[split.test]).mean()
    assert ("loss_cross_entropy" in outcome.curves) == (not labels_only)
    assert "whitebox_error" not in outcome.curves
    with pytest.raises(UserError, match=r"target\.scale: expected none for poisoning"):
        combination(Sklearn(estimator=estimator, scale="standard"), **options)
    with pytest.raises(UserError, match=r"surrogate: expected a linear SVM.* to poison, got LogisticRegression"):
        combination(Ridge(alpha=1.0), Sklearn(estimator=LogisticRegression()), **options)


def test_it_cannot_be_a_surrogate() -> None:
    with pytest.raises(UserError, match="surrogate: expected a learner with input gradients, got GaussianNB; it can only"):
        combination(Ridge(alpha=1.0), Sklearn(estimator=GaussianNB()))


class Spy(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The nearest mean; notes what it is shown, and by what numbers it is to be random."""

    seen: ClassVar[list[Any]] = []

    def __init__(self, sparse: bool = False, random_state: int | None = None) -> None:
        self.sparse, self.random_state = sparse, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.sparse
        return tags

    def fit(self, x: Any, y: Ints) -> Spy:
        self.seen.append((type(x), self.random_state))
        self.classes_, x = np.unique(y), dense(x)
        self.means_ = np.stack([x[y == k].mean(0) for k in self.classes_])
        return self

    def decision_function(self, x: Any) -> Floats:
        self.seen.append((type(x), x.dtype))
        first, second = (np.square(dense(x) - mean).sum(1) for mean in self.means_)
        if not sp.issparse(x):
            x[:] = 0  # a transformer with copy=False, say
        return np.asarray(first - second)

    def predict(self, x: Any) -> Ints:
        return np.asarray(self.decision_function(x) > 0, dtype=np.int64)


def target_logits(one: Any, store: Store) -> Floats:
    work = Work.of(one, store)
    return target_of(work).model.logits(work.dataset.x[work.split.test])


def misses(store: Store, estimator: Any, seed: int = 0) -> tuple[int, Floats]:
    """Models that were not in the store, and the logits of the one that is the target."""
    before = store.misses["learner"]
    logits = target_logits(combination(Sklearn(estimator=estimator), seed=seed), store)
    return store.misses["learner"] - before, logits


@pytest.mark.parametrize("name", ["pipeline", "bayes", "ridge", "svm", "sgd"])
def test_what_skops_trusts_is_stored_and_is_the_same_model(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, logits = misses(store, CLASSIFIERS[name])
    trained._recent.clear()  # another process
    second, again = misses(store, CLASSIFIERS[name])
    assert (first, second) == (1, 0)
    assert np.array_equal(again, logits)
    one = combination(Sklearn(estimator=CLASSIFIERS[name]))
    split = make_split(one.dataset, seed=0)
    seed = seeds.integer(0, "target_training")
    direct = one.target.fit(one.dataset.x[split.target], one.dataset.y[split.target], n_classes=2, seed=seed)
    assert np.array_equal(direct.logits(one.dataset.x[split.test]), logits)
    assert misses(store, CLASSIFIERS[name], seed=1)[0] == 1  # other rows


@pytest.mark.parametrize("estimator", [DecisionTreeClassifier(max_depth=2), Spy()])
def test_what_skops_does_not_trust_is_not_stored_and_trained_once_a_process(
    estimator: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For all surrogates; and it is said once."""
    store, target = Store(tmp_path), Sklearn(estimator=estimator)
    with caplog.at_level(logging.INFO):
        logits = [target_logits(combination(target, Ridge(alpha=alpha)), store) for alpha in (1.0, 2.0, 3.0)]
        (training,) = [r.message for r in caplog.records if r.message.startswith("training")]
        assert training == f"training {target.label} on 50 points"
        (said,) = [r.message for r in caplog.records if "is not stored" in r.message]
        assert not list(tmp_path.glob("learner/*.npz"))
        assert np.array_equal(logits[0], logits[2])
        assert ("Tree" if isinstance(estimator, DecisionTreeClassifier) else "Spy") in said
        trained._recent.clear()  # another process trains the same
        assert np.array_equal(target_logits(combination(target), store), logits[0])
    assert sum(r.message.startswith("training") for r in caplog.records) == 2


def test_those_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "_MOST_KEPT", 2)
    store = Store(tmp_path)

    def n_fits(depth: int) -> int:
        return misses(store, DecisionTreeClassifier(max_depth=depth))[0]

    assert [n_fits(depth) for depth in (1, 2, 1, 3, 1, 2)] == [1, 1, 0, 1, 0, 1]


class Marker(BaseEstimator):  # type: ignore[misc]
    """Leaves a mark when it is loaded."""

    loaded: ClassVar[list[int]] = []

    def __setstate__(self, state: Any) -> None:
        self.loaded.append(1)
        vars(self).update(state)


def test_an_untrusted_type_in_the_store_is_never_loaded(tmp_path: Path) -> None:
    pipeline = make_pipeline(StandardScaler(), GaussianNB())
    model = fit(pipeline, 2)[0]
    model.estimator.mark = Marker()
    content = skops.io.dumps(model.estimator)
    skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    assert Marker.loaded, "loading leaves no mark: the test says nothing"
    Marker.loaded.clear()
    state = {**(model.state() or {}), "skops": np.frombuffer(content, np.uint8)}
    with pytest.raises(UserError, match=r"expected an estimator of types that skops trusts, got .*Marker"):
        Sklearn(estimator=pipeline).restore(state)
    assert not Marker.loaded


def test_an_estimator_that_comes_back_as_another_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, _ = fit(GaussianNB(), 2)
    assert model.state() is not None
    other = fit(GaussianNB(var_smoothing=0.1), 2)[0].estimator
    monkeypatch.setattr(skops.io, "loads", lambda content: other)
    changed, x, _ = fit(GaussianNB(), 2)
    assert changed.state() is None
    assert np.array_equal(changed.logits(x), model.logits(x))


def test_the_seed_sets_every_random_state_that_is_open(tmp_path: Path) -> None:
    def numbers(seed: int, **options: Any) -> list[Any]:
        vote = VotingClassifier([("a", Spy(**options)), ("b", Spy()), ("c", Spy())])
        Spy.seen.clear()
        fit(vote, 2, seed=seed)
        return [noted[1] for noted in Spy.seen[:3]]

    first, again, other = numbers(0), numbers(0), numbers(1)
    assert first == again
    assert len({*first, *other}) == 6
    kept = numbers(0, random_state=7)
    assert (kept[0], *kept[1:]) == (7, *first[:2])
    forests = [fit(RandomForestClassifier(5), 2, seed=seed)[0].logits(points(2)[0]) for seed in (0, 0, 1)]
    assert np.array_equal(forests[0], forests[1])
    assert not np.array_equal(forests[0], forests[2])
    estimator = RandomForestClassifier(5)
    fit(estimator, 2)
    assert estimator.random_state is None
    assert not hasattr(estimator, "estimators_")


@pytest.mark.parametrize("sparse", [True, False])
def test_csr_points_stay_csr_where_the_estimator_takes_them(sparse: bool) -> None:
    x, y = points(2, n=90)
    x = np.where(np.abs(x) < 0.5, 0.0, x)
    rows = sp.csr_array(x)
    expected, kind = fit_spy(x, y).logits(x), sp.csr_array if sparse else np.ndarray
    Spy.seen.clear()
    model = fit_spy(rows, y, sparse=sparse)
    for shown in (rows, x):
        assert model.logits(shown) == pytest.approx(expected)
    assert {noted[0] for noted in Spy.seen} == {kind}
    assert (rows.toarray() == x).all()


def fit_spy(x: Any, y: Ints, **options: Any) -> Any:
    return Sklearn(estimator=Spy(**options)).fit(x, y, n_classes=2, seed=0)


def test_what_an_estimator_does_to_its_input_changes_nothing() -> None:
    x, y = points(2)
    before = x.copy()
    model = fit_spy(x, y)
    first = model.logits(x)
    assert np.array_equal(model.logits(x), first)
    distances = [np.square(x - x[y == k].mean(0)).sum(1) for k in (0, 1)]
    assert first[:, 1] - first[:, 0] == pytest.approx(distances[0] - distances[1])
    fit_in_place = Sklearn(estimator=make_pipeline(StandardScaler(copy=False), GaussianNB()))
    fit_in_place.fit(x, y, n_classes=2, seed=0).logits(x)
    assert np.array_equal(x, before)
    assert {str(noted[1]) for noted in Spy.seen if noted[1] is not None and not isinstance(noted[1], int)} == {"float64"}


def test_an_estimator_that_draws_its_answers_is_named() -> None:
    model, x, _ = fit(DummyClassifier(strategy="stratified"), 2)
    with pytest.raises(
        UserError, match="DummyClassifier: expected logits that do not depend on the other points of a batch"
    ):
        model.check(x[:20])


def test_scaling_is_that_of_a_pipeline() -> None:
    estimator = KNeighborsClassifier(3)
    scaled, x, _ = fit(estimator, 3, scale="standard")
    pipeline, _, _ = fit(make_pipeline(StandardScaler(), estimator), 3)
    assert np.array_equal(scaled.logits(x), pipeline.logits(x))


def recipes() -> list[Any]:
    knn, steps = KNeighborsClassifier, [("scale", StandardScaler()), ("knn", KNeighborsClassifier(3))]
    return [
        knn(3),
        knn(4),
        knn(3, weights="distance"),
        RandomForestClassifier(3),
        Pipeline(steps),
        Pipeline([steps[0], ("knn", knn(4))]),
        Pipeline([("scale", StandardScaler(with_mean=False)), steps[1]]),
        Pipeline([("other name", steps[0][1]), steps[1]]),
        GaussianNB(priors=np.array([0.5, 0.5])),
        GaussianNB(priors=np.array([0.4, 0.6])),
        make_pipeline(FunctionTransformer(np.log1p), knn(3)),
        make_pipeline(FunctionTransformer(np.expm1), knn(3)),
        GridSearchCV(knn(3), {"n_neighbors": [1, 2]}, cv=StratifiedKFold(3)),
        GridSearchCV(knn(3), {"n_neighbors": [1, 2]}, cv=StratifiedKFold(4)),
        Spy(),
    ]


def test_estimators_are_signed_by_their_classes_and_all_their_parameters() -> None:
    keys = [signature(learner=Sklearn(estimator=one)) for one in recipes()]
    assert len(set(keys)) == len(keys)
    assert keys == [signature(learner=Sklearn(estimator=one, name="shown")) for one in recipes()]
    assert all(key.storable for key in keys)
    assert signature(learner=Sklearn(estimator=GaussianNB(), scale="standard")) not in keys
    assert Sklearn(estimator=recipes()[4]) == Sklearn(estimator=recipes()[4]) != Sklearn(estimator=recipes()[5])


def test_an_estimator_is_copied_when_it_is_named() -> None:
    estimator = KNeighborsClassifier(3)
    learner = Sklearn(estimator=estimator)
    estimator.set_params(n_neighbors=9)
    assert learner.estimator.n_neighbors == 3


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (KNeighborsClassifier, r"Sklearn\.estimator: expected a scikit-learn classifier, got <class .*KNeighborsClassifier"),
        (StandardScaler(), r"estimator: expected a scikit-learn classifier, got StandardScaler\(\); set estimator._target_"),
        (None, "expected a scikit-learn classifier, got None"),
        (SVC(decision_function_shape="ovo"), "expected decision_function_shape ovr, a score for each class, got ovo"),
        (make_pipeline(SVC(decision_function_shape="ovo")), "decision_function_shape ovr"),
        (
            RandomForestClassifier(random_state=np.random.RandomState(0)),
            "expected options that are numbers, text, functions",
        ),
    ],
)
def test_what_is_no_classifier_is_refused(estimator: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sklearn(estimator=estimator)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (KNeighborsClassifier(n_neighbors=-1), "^KNeighborsClassifier: expected to fit 80 points, got: .*n_neighbors"),
        (LinearRegression(), "LinearRegression: expected labels as whole numbers or names, got float64"),
        (IsolationForest(), "IsolationForest: expected labels among 0, 1, got -1"),
    ],
)
def test_what_cannot_be_fitted_or_asked_is_said_in_one_line(estimator: Any, message: str) -> None:
    x, _ = points(2)
    with pytest.raises(UserError, match=message) as refused:
        fit(estimator, 2)[0].logits(x)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 320


def test_a_pipeline_of_a_config_is_trained_and_recorded(root: Path, cli: Cli) -> None:
    scale = "[a,{_target_:sklearn.preprocessing.StandardScaler}]"
    bayes = "[b,{_target_:sklearn.naive_bayes.GaussianNB,var_smoothing:1e-3}]"
    pipeline = f"+target.estimator={{_target_:sklearn.pipeline.Pipeline,steps:[{scale},{bayes}]}}"
    small = [word for word in SMALL if not word.startswith("target")]
    done = cli(*small, "target=sklearn", pipeline)
    assert done.rc == 0, done.stderr
    (logged,) = runs(root)
    assert logged.data.params["target.estimator._target_"] == "sklearn.pipeline.Pipeline"
    assert '"var_smoothing": 0.001' in logged.data.params["target.estimator.steps"]
    refused = cli(*small, "target=sklearn", pipeline.replace("var_", "vari_"))
    assert refused.rc == 1
    assert "target.estimator.steps.1.1.vari_smoothing: expected one of priors, var_smoothing" in refused.stderr


def test_what_draws_from_global_generators_is_seeded_and_moves_none() -> None:
    """A splitter that shuffles has no ``random_state`` among the estimator's parameters."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 4)), random.permutation(np.arange(60) % 2)
    splitter = StratifiedKFold(3, shuffle=True)
    learner = Sklearn(estimator=CalibratedClassifierCV(GaussianNB(), cv=splitter))
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second, other = (learner.fit(x, y, n_classes=2, seed=seed).logits(x) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
