"""What goes into a combination, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from transfer_exp import measures
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import Learner
from transfer_exp.learners.scaling import require_scalable
from transfer_exp.signature import code_version, signature
from transfer_exp.types import Dataset, Examples, Floats, Grid, UserError

CURVES = (
    "error",
    "success",
    "whitebox_error",
    "whitebox_success",
    "surrogate_error",
    "loss",
    "loss_logistic",
    "perturbation_correlation",
    "perturbation_l1",
    "perturbation_l2",
    "perturbation_linf",
    "noise_error",
)
"""Curves that a combination may have, each over the grid."""

_NO_IDENTITY = ("name", "made_by", "x", "y")  # of a data set: for display; the content, for which the checksum stands


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One surrogate, one target, one attack, on one random split of one data set.

    ``n_variability``: training sets for V (``data.training_sets``). ``device``: cpu, cuda or auto.
    """

    dataset: Dataset
    surrogate: Learner
    target: Learner
    attack: Evasion | EvasionAdd | Poisoning
    epsilon: Grid
    seed: int = 0
    surrogate_fraction: float = 1.0
    n_variability: int = 10
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.surrogate.model_type.differentiable:
            raise UserError(
                f"surrogate: expected a learner with input gradients, got {self.surrogate.name or 'a forest'}; "
                "forests can only be targets"
            )
        if isinstance(self.attack, Poisoning):
            self.surrogate.require_poisonable()
            self.surrogate.require_raw("surrogate")
            self.target.require_raw("target")
        for learner in (self.surrogate, self.target):
            require_scalable(learner.scale, self.dataset.x)
        for name, least in (("seed", 0), ("n_variability", 2)):
            if getattr(self, name) < least:
                raise UserError(f"{name}: expected a whole number >= {least}, got {getattr(self, name)}")

    def signature(self) -> str:
        """Hash of all that the outcome depends on: data, options, seed, and the code that computes it."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "dataset"}
        return signature(
            data={f.name: getattr(self.dataset, f.name) for f in fields(self.dataset) if f.name not in _NO_IDENTITY},
            code=code_version("data", "learners", "optim", "attacks", "measures", "pipeline", "seeds.py", "types.py"),
            **parts,
        )


@dataclass(kw_only=True)
class Outcome:
    """What a combination gives: scalars, curves over the grid (NaN where undefined), sizes, examples of image data.

    A scalar that is undefined (a forest has no gradient) is absent.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    examples: Examples | None = None

    def add(self, name: str, values: Floats) -> None:
        """Add the mean over points of a measure, and the share of points where it is undefined when there are any."""
        mean, undefined = measures.mean_defined(values)
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
                if white > 0:
                    self.metrics[f"error_ratio_at_{epsilon:g}"] = error / white
        if "perturbation_correlation" in self.curves:
            correlation = self.curves["perturbation_correlation"][grid.grid.index(grid.reference)]
            if np.isfinite(correlation):
                self.metrics["perturbation_correlation"] = correlation
