"""What a search is for: ``objective=transfer``, ``robustness`` or ``metric``. A trial's value: a mean over its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from transfer_exp.types import UserError

_CLEAN = "clean_error"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A metric of the runs, and whether it should be large or small.

    panel: groups of the configuration and the choices of each (``target: [svm_low, mlp_low]``) that every trial meets.
    max_accuracy_loss: the largest clean error of a target allowed beyond that of the configuration as it is; None for any.
    Raises UserError on a loss below 0.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    panel: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_accuracy_loss: float | None = None

    def __post_init__(self) -> None:
        if self.max_accuracy_loss is not None and not self.max_accuracy_loss >= 0:
            raise UserError(f"objective.max_accuracy_loss: expected a share >= 0 or null, got {self.max_accuracy_loss}")
        for group, choices in self.panel.items():
            if isinstance(choices, str) or not choices:
                raise UserError(f"objective.panel.{group}: expected a list of choices, got {choices!r}")

    @property
    def overrides(self) -> list[str]:
        """The panel as a command line has it."""
        return [f"{group}={','.join(choices)}" for group, choices in self.panel.items()]

    def value(self, runs: Sequence[Mapping[str, float]], references: Sequence[float]) -> float:
        """Mean of the metric over the metrics of runs, each with its reference epsilon.

        Raises UserError where a run has no such metric.
        """
        return _mean([_of(one, self.metric, reference) for one, reference in zip(runs, references, strict=True)])

    def clean_error(self, runs: Sequence[Mapping[str, float]]) -> float | None:
        """Mean clean error of the targets; None where no limit is set."""
        return None if self.max_accuracy_loss is None else _mean([_of(one, _CLEAN, 0.0) for one in runs])

    def excess(self, clean_error: float | None, before: float | None) -> float:
        """How far a clean error lies above what is allowed beyond the one ``before``; at most 0 where it is allowed."""
        if self.max_accuracy_loss is None or clean_error is None or before is None:
            return 0.0
        return clean_error - before - self.max_accuracy_loss

    def is_better(self, first: float, second: float) -> bool:
        """Whether one value is better than another."""
        return first > second if self.direction == "maximize" else first < second


def _of(metrics: Mapping[str, float], name: str, reference: float) -> float:
    for known in (name, f"{name}_at_{reference:g}"):
        if known in metrics:
            return metrics[known]
    plain = [one for one in sorted(metrics) if "/" not in one]
    raise UserError(f"objective.metric: expected a metric that every run records, got {name}; choose of {', '.join(plain)}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
