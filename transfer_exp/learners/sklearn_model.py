"""Any scikit-learn classifier, pipelines too: trained here, a target only (scikit-learn gives no input gradients).

Decisions are those of ``predict``, exactly. Logits are, of an estimator that has it,

    predict_proba        log probabilities: their cross-entropy is that of the estimator (see ``answers``)
    decision_function    its scores
    neither              one-hot labels, of which no loss is defined

Where the estimator does not decide for its largest probability or score (a threshold of its own, a vote), the logit of the
class that it decides for is raised to the largest.

A fitted estimator is stored by skops, which is no pickle, and only where it is of types alone that skops trusts: nothing
else is ever loaded. What cannot be stored so is trained again in each process.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field
from importlib.metadata import version
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import scipy.sparse as sp

from transfer_exp.learners.answers import Answers, Gives, deciding
from transfer_exp.learners.base import Learner
from transfer_exp.learners.black_box import BlackBoxModel
from transfer_exp.learners.model import Model
from transfer_exp.seeds import seeded
from transfer_exp.types import Floats, Ints, Matrix, UserError, counted, dense, reason

_log = logging.getLogger(__name__)
_PLAIN = (bool, int, float, str, np.generic, type, FunctionType, BuiltinFunctionType, functools.partial)
_N_TRIED = 500  # training points on which a stored estimator has to answer as the fitted one does


class SklearnModel(BlackBoxModel):
    """A fitted estimator; ``skops``: its bytes, where it can be stored, ``sparse``: whether it takes CSR points, ``K``."""

    def __init__(self, *, estimator: Any = None, **arrays: Any) -> None:
        super().__init__(**arrays)
        self.estimator = trusted(arrays["skops"].tobytes()) if estimator is None else estimator
        self.label = type(self.estimator).__name__
        self.gives = "labels" if gives_of(self.estimator) == "labels" else "logits"
        self._sparse = bool(arrays["sparse"])

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.get_buffer("K"))

    def ask(self, x: Matrix) -> Floats:
        """Logits ``(n, K)`` of one batch of points."""
        points = sp.csr_array(x) if self._sparse else dense(x)
        gives = gives_of(self.estimator)
        decided = self._read("labels", self.estimator.predict(points.copy()), int(x.shape[0]))
        if gives == "labels":
            return decided
        asked = self.estimator.predict_proba if gives == "probabilities" else self.estimator.decision_function
        return deciding(self._read(gives, asked(points), int(x.shape[0])), np.asarray(decided.argmax(axis=1)))

    def _read(self, gives: Gives, answer: Any, n: int) -> Floats:
        return Answers(who=self.label, gives=gives, n_classes=self.n_classes).logits(answer, n)

    def state(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The estimator as skops writes it; None where skops does not trust all of it."""
        return Model.state(self) if "skops" in self._buffers else None


@dataclass(frozen=True, kw_only=True)
class Sklearn(Learner):
    """A scikit-learn classifier.

    estimator: not fitted yet, with its options; it is copied, and each training begins with a new copy. Its
    ``random_state``, and those of its steps, are set by the seed where they are None. CSR points are handed on as they are
    where it takes them.
    """

    estimator: Any = field(compare=False)
    recipe: Any = field(default=(), init=False, repr=False)
    """What it is signed by: classes and parameters of the estimator, and the version of what stores it."""
    family = "sklearn"
    model_type = SklearnModel

    def __post_init__(self) -> None:
        super().__post_init__()
        from sklearn.base import clone  # here: see ``learners``

        methods = ("fit", "predict", "get_params", "set_params")
        if isinstance(self.estimator, type) or not all(hasattr(self.estimator, name) for name in methods):
            raise UserError(
                f"{self.name or 'Sklearn'}.estimator: expected a scikit-learn classifier, got {self.estimator!r}; set "
                "estimator._target_ to its class"
            )
        shapes = [value for name, value in self.estimator.get_params().items() if name.endswith("decision_function_shape")]
        if "ovo" in shapes:
            raise UserError(f"{self.label}.estimator: expected decision_function_shape ovr, a score for each class, got ovo")
        object.__setattr__(self, "estimator", clone(self.estimator))
        object.__setattr__(self, "recipe", (_recipe(self.estimator), version("skops")))

    @property
    def label(self) -> str:
        """The name, or the estimator's class."""
        return self.name or type(self.estimator).__name__

    @property
    def labels_only(self) -> bool:
        """Whether only decisions are known."""
        return gives_of(self.estimator) == "labels"

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> SklearnModel:
        from sklearn.base import clone  # here: see ``learners``

        estimator = clone(self.estimator)
        estimator.set_params(**_random_states(estimator, seed))
        is_sparse = isinstance(x, sp.csr_array) and _takes_sparse(estimator)
        points = x.copy() if is_sparse else np.array(dense(x))
        try:
            with seeded(seed):  # what is no ``random_state``: a splitter's, or numpy's own
                estimator.fit(points, y)
        except (ValueError, TypeError) as error:  # bad options, say: scikit-learn checks them here
            raise UserError(f"{self.label}: expected to fit {counted(len(y), 'point')}, got: {reason(error)}") from error
        if not np.array_equal(getattr(estimator, "classes_", np.arange(n_classes)), np.arange(n_classes)):
            raise UserError(f"{self.label}: expected classes 0 to {n_classes - 1} when fitted, got {estimator.classes_}")
        model = SklearnModel(estimator=estimator, K=np.int64(n_classes), sparse=np.bool_(is_sparse))
        stored = _from_skops(model, points[:_N_TRIED])
        if isinstance(stored, str):
            _say_once(self.label, stored)
        return model if isinstance(stored, str) else stored


def gives_of(estimator: Any) -> Gives:
    """What an estimator, fitted or not, answers."""
    if hasattr(estimator, "predict_proba"):
        return "probabilities"
    return "scores" if hasattr(estimator, "decision_function") else "labels"


def trusted(content: bytes) -> Any:
    """The estimator that skops wrote. Raises UserError, and loads nothing, where it does not trust all types in it."""
    import skops.io  # here: it imports all of scikit-learn

    untrusted = skops.io.get_untrusted_types(data=content)
    if untrusted:
        raise UserError(f"expected an estimator of types that skops trusts, got {untrusted[0]}")
    return skops.io.loads(content)


def _from_skops(model: SklearnModel, tried: Matrix) -> SklearnModel | str:
    """The model from the bytes that skops writes of it or, where these are not the same model, why."""
    import skops.io  # here: it imports all of scikit-learn

    try:
        content = np.frombuffer(skops.io.dumps(model.estimator), np.uint8)
        again = SklearnModel(skops=content, K=model.K, sparse=model.sparse)
        same = np.array_equal(again.ask(tried.copy()), model.ask(tried.copy()))
    except Exception as error:  # skops has no error for all that it cannot write or read
        return reason(error)
    return again if same else "it answers otherwise when it was stored"


@functools.cache
def _say_once(label: str, why: str) -> None:
    _log.warning("%s is not stored (%s): it is trained again in each process", label, why)


def _random_states(estimator: Any, seed: int) -> dict[str, int]:
    """A number for each ``random_state`` that is None, another for each."""
    params = estimator.get_params()
    unset = sorted(name for name, value in params.items() if name.split("__")[-1] == "random_state" and value is None)
    return dict(zip(unset, np.random.default_rng(seed).integers(2**31, size=len(unset)).tolist(), strict=True))


def _takes_sparse(estimator: Any) -> bool:
    from sklearn.utils import get_tags  # here: see ``learners``

    return hasattr(estimator, "__sklearn_tags__") and bool(get_tags(estimator).input_tags.sparse)


def _recipe(value: Any) -> Any:
    """An estimator as its class and parameters, nested; other values as they are, in tuples."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        return type(value), *_recipe(value.get_params(deep=False))
    if isinstance(value, dict):
        return tuple((str(key), _recipe(below)) for key, below in sorted(value.items(), key=str))
    if isinstance(value, list | tuple):
        return tuple(map(_recipe, value))
    if isinstance(value, np.ndarray):
        return value.dtype.str, _recipe(value.tolist())
    if isinstance(value, np.ufunc):
        return f"numpy.{value.__name__}"
    if value is None or isinstance(value, _PLAIN):
        return value
    if hasattr(value, "__dict__"):  # a splitter of cross-validation, say
        return type(value), *_recipe(vars(value))
    raise UserError(f"estimator: expected options that are numbers, text, functions or estimators, got {value!r}")
