"""What goes into a combination, and what comes out of it.

Its identity is ``Combination.signature``: a finished run that has the same is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from transfer_exp.attacks.base import Attack
from transfer_exp.attacks.foreign import Foreign
from transfer_exp.attacks.goals import ANY, resolve_goal
from transfer_exp.attacks.iterative import Iterative
from transfer_exp.data.binary import require_binary
from transfer_exp.data.strengths import Shares
from transfer_exp.data.target_rows import target_rows
from transfer_exp.learners import Learner
from transfer_exp.learners.scaling import require_scalable
from transfer_exp.measures.base import Measure, mean_defined
from transfer_exp.measures.own import check_own, checked
from transfer_exp.measures.registry import MEASURES
from transfer_exp.signature import code_version, signature
from transfer_exp.types import Dataset, Examples, Floats, Grid, Ints, UserError

_NO_IDENTITY = ("name", "made_by", "x", "y")  # of a data set: for display; the content, for which the checksum stands
_CODE = (
    "combination.py",
    "data",
    "learners",
    "optim",
    "attacks",
    "measures",
    "work",
    "scenarios",
    "margin.py",
    "seeds.py",
    "types.py",
)


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One surrogate, one target, one attack, on one random split of one data set.

    ``epsilon``: a grid, or shares of the data's scale, of which it becomes one (``data.strengths``).
    ``n_variability``: training sets for V (``data.training_sets``). ``device``: cpu, cuda or auto. ``measures``: the user's
    own, taken beside those of ``measures.registry``; no part of the identity, as they change nothing else.
    Raises UserError on parts that do not fit together.
    """

    dataset: Dataset
    surrogate: Learner
    target: Learner
    attack: Attack
    epsilon: Grid
    seed: int = 0
    surrogate_fraction: float = 1.0
    n_variability: int = 10
    device: str = "cpu"
    measures: tuple[Measure, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.epsilon, Shares):
            object.__setattr__(self, "epsilon", self.epsilon.on(self.dataset, self.attack.norm))
        for name in sorted(self.attack.requires):
            _REQUIREMENTS[name](self)
        _ = self.goal
        for role in ("surrogate", "target"):
            learner: Learner = getattr(self, role)
            for one in _with_parts(learner):
                require_scalable(one.scale, self.dataset.x)
            object.__setattr__(self, role, learner.on(self.dataset))
        for name, least in (("seed", 0), ("n_variability", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: expected a whole number >= {least}, got {getattr(self, name)}")
        known = target_rows(self.dataset)
        if known is not None and not len(known) and not self.target.given:
            raise UserError(
                f"target_rows: expected rows to train {self.target.label} on, got none; that is for a target that is given"
            )
        object.__setattr__(self, "measures", tuple(self.measures))
        check_own(self.measures)

    @property
    def goal(self) -> str | int:
        """What the attacker wants: ``any`` other class, the ``next``, the ``least_likely``, or one, by its index.

        Raises UserError on a class that the data set has not.
        """
        return resolve_goal(getattr(self.attack, "goal", ANY), self.dataset.class_names)

    @property
    def unknown(self) -> list[str]:
        """What cannot be known of a combination with given models, in sentences."""
        given = {role: one for role, one in (("surrogate", self.surrogate), ("target", self.target)) if one.given}
        told = [
            f"{role} {one.label} is given: whether its training data are disjoint from those of the others, and from the "
            "test points, is unknown"
            for role, one in given.items()
            if role == "surrogate" or target_rows(self.dataset) is None
        ]
        if "surrogate" in given:
            told.append(f"V of {self.surrogate.label} is unknown: it cannot be trained on other data")
        return told

    def signature(self) -> str:
        """Hash of all that the outcome depends on: data, options, seed, and the code that computes it."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.compare and f.name != "dataset"}
        return signature(
            data={f.name: getattr(self.dataset, f.name) for f in fields(self.dataset) if f.name not in _NO_IDENTITY},
            code=code_version(*_CODE),
            **parts,
        )


def _with_parts(learner: Learner) -> Iterator[Learner]:
    yield learner
    for part in learner.parts():
        yield from _with_parts(part)


def _gradients(combination: Combination) -> None:
    if not combination.surrogate.differentiable:
        raise UserError(
            f"surrogate: expected a learner with input gradients, got {combination.surrogate.label}; it can only be a target"
        )


def _retraining(combination: Combination) -> None:
    combination.surrogate.require_retrainable()
    combination.surrogate.require_raw("surrogate")
    combination.target.require_raw("target")
    _training(combination)


def _training(combination: Combination) -> None:
    if combination.surrogate.given:
        raise UserError(
            f"surrogate: expected a learner, to be trained on poisoned data, got {combination.surrogate.label}, a given one"
        )
    if combination.target.given:
        raise UserError(
            f"target: expected a learner, to be trained on the poisoned data, got {combination.target.label}, which is given"
        )


def _two_classes(combination: Combination) -> None:
    names = combination.dataset.class_names
    if len(names) != 2:
        raise UserError(
            f"attack: expected two classes for {combination.attack.name}, got {len(names)} in {combination.dataset.name}; "
            f"choose two, dataset.classes=[{names[0]},{names[1]}] say"
        )


def _binary_features(combination: Combination) -> None:
    require_binary(combination.dataset.x, combination.dataset.name)


def _unit_box(combination: Combination) -> None:
    cast(Foreign, combination.attack).require_space(combination.dataset.box, combination.dataset.shape)


def _images(combination: Combination) -> None:
    cast(Iterative, combination.attack).require_images(combination.dataset.shape)


_REQUIREMENTS: dict[str, Callable[[Combination], None]] = {
    "gradients": _gradients,
    "retraining": _retraining,
    "training": _training,
    "two_classes": _two_classes,
    "binary_features": _binary_features,
    "unit_box": _unit_box,
    "images": _images,
}
"""What an attack may require of a combination, each refused in one line."""


@dataclass(kw_only=True)
class Outcome:
    """What a combination gives: scalars, curves over the grid (NaN where undefined), sizes, examples of image data.

    A scalar that is undefined (a forest has no gradient) is absent. confusion: at the reference epsilon, by role, counts
    ``(K, K)`` of points of a class (rows) taken for a class (columns); of more than two classes only. points: what became of
    each attacked point (``scenarios.points``).
    """

    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    examples: Examples | None = None
    confusion: dict[str, Ints] = field(default_factory=dict)
    points: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def measure_all(self, context: Any, combination: Combination) -> None:
        """Take every measure of what the scenario offers, those of the registry and the user's own."""
        n_epsilons = len(combination.epsilon.grid)
        for measure in (*MEASURES.values(), *(checked(own, n_epsilons=n_epsilons) for own in combination.measures)):
            self.measure(measure, context)

    def measure(self, measure: Measure, context: Any) -> None:
        """Take a measure of what the scenario offers: a curve, or a scalar, means over the points where it is defined."""
        values = None if measure.compute is None else measure.compute(context)
        if values is None:
            return
        if measure.is_curve:
            by_epsilon = np.asarray(values, dtype=np.float64)
            by_epsilon = by_epsilon.reshape(len(by_epsilon), -1)
            means = by_epsilon.mean(axis=1)
            undefined = np.flatnonzero(np.isnan(means))
            means[undefined] = [mean_defined(by_epsilon[k])[0] for k in undefined]
            self.curves[measure.name] = means.tolist()
        else:
            self.add(measure.name, np.asarray(values, dtype=np.float64))

    def add(self, name: str, values: Floats) -> None:
        """Add the mean over points of a measure, and the share of points where it is undefined when there are any."""
        mean, undefined = mean_defined(values)
        if np.isfinite(mean):
            self.metrics[name] = mean
        if undefined:
            self.metrics[f"health/{name}_undefined"] = undefined

    def add_shown(self, grid: Grid) -> None:
        """Add scalars of the curves at the shown epsilons and at the reference, for tables and scatter plots.

        The white box knows the points made on this surrogate only; that of a study is ``report.records.worst_white_box``.
        """
        for epsilon in grid.shown:
            k = grid.grid.index(epsilon)
            error = self.metrics[f"error_at_{epsilon:g}"] = self.curves["error"][k]
            self.metrics[f"noise_error_at_{epsilon:g}"] = self.curves["noise_error"][k]
            if "whitebox_error" in self.curves:
                white = self.metrics[f"whitebox_error_at_{epsilon:g}"] = self.curves["whitebox_error"][k]
                if white > 0 and "targeted_success" not in self.curves:  # with a goal its error is no worst case
                    self.metrics[f"error_ratio_at_{epsilon:g}"] = error / white
        if "perturbation_correlation" in self.curves:
            correlation = self.curves["perturbation_correlation"][grid.grid.index(grid.reference)]
            if np.isfinite(correlation):
                self.metrics["perturbation_correlation"] = correlation
