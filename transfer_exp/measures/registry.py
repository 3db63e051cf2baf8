"""What is measured: name, symbol, heading, of what. Pipeline, csv files, tables, report and MLflow read it here.

A *scalar* is a number a combination, an MLflow metric under its name; a *curve* has a value at every epsilon of the grid, a
column of ``curves.csv`` and the MLflow metric ``curve/<name>``. A report shows a measure in the table of what it is a
property of, a curve by its value at the reference epsilon, and draws it against what it explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Of: TypeAlias = Literal["surrogate", "target", "pair"]
TRANSFER = "transfer"
"""Stands for the error of the targets: the mean over those that a surrogate met, or that met a target; of a pair its own."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: ``name`` of its column and metric, ``symbol`` of the literature ("" for none), ``heading`` in words.

    of: what it is a property of, and over what tables take its mean. is_curve: one value an epsilon. is_share: between 0 and
    1, shown in percent. is_cosine: between -1 and 1; of a pair, it is shown as a matrix. source: where it is defined. label:
    heading of a column or an axis; where it has none, symbol and heading, or its name if it explains nothing. explains: the
    columns of its table that it is drawn against and correlated with; of what an attack did none. norm: the norm in which it
    is the size of something.
    """

    name: str
    heading: str
    of: Of
    symbol: str = ""
    is_curve: bool = False
    is_share: bool = False
    is_cosine: bool = False
    source: str = ""
    label: str = ""
    explains: tuple[str, ...] = (TRANSFER,)
    norm: str = ""

    @property
    def title(self) -> str:
        """Its heading where there is little room."""
        if self.label or not self.explains:
            return self.label or self.name.replace("_", " ").replace("whitebox", "white-box")
        return ", ".join(filter(None, (self.symbol, self.heading)))


def _outcome(name: str, heading: str, of: Of, *, is_curve: bool = True, is_share: bool = True, norm: str = "") -> Measure:
    """What an attack did: explained by other measures, it explains nothing."""
    return Measure(name=name, heading=heading, of=of, is_curve=is_curve, is_share=is_share, norm=norm, explains=())


_PAPER = "Demontis et al. 2019, section 3"
_ALL = (
    _outcome("error", "error of the target", "pair"),
    _outcome("success", "success: of the points that were right before", "pair"),
    _outcome("targeted_success", "targeted success: taken for the goal, of the points that were right before", "pair"),
    _outcome("whitebox_error", "white-box error", "target"),
    _outcome("whitebox_success", "white-box success", "target"),
    _outcome("whitebox_targeted_success", "white-box targeted success", "target"),
    _outcome("surrogate_error", "error of the surrogate", "surrogate"),
    _outcome("loss", "loss of the target", "pair", is_share=False),
    _outcome("loss_cross_entropy", "cross-entropy of the target", "pair", is_share=False),
    Measure(
        name="perturbation_correlation",
        heading="correlation of black-box and white-box perturbation",
        symbol="rho",
        label="rho, perturbation correlation",
        of="pair",
        is_curve=True,
        is_cosine=True,
        explains=(),
        source=_PAPER,
    ),
    _outcome("perturbation_l1", "size of the perturbation, l1", "surrogate", is_share=False, norm="l1"),
    _outcome("perturbation_l2", "size of the perturbation, l2", "surrogate", is_share=False, norm="l2"),
    _outcome("perturbation_linf", "size of the perturbation, linf", "surrogate", is_share=False, norm="linf"),
    _outcome("noise_error", "error under random noise of the same size", "target"),
    _outcome("clean_error", "clean error of the target", "target", is_curve=False),
    _outcome("surrogate_clean_error", "clean error of the surrogate", "surrogate", is_curve=False),
    Measure(
        name="gradient_size",
        heading="size of input gradients",
        symbol="S",
        label="S, own loss",
        of="target",
        explains=("whitebox_error",),
        source=_PAPER,
    ),
    Measure(
        name="gradient_size_cross_entropy",
        heading="size of input gradients of the cross-entropy",
        symbol="S",
        label="S, cross-entropy",
        of="target",
        explains=("whitebox_error",),
        source=_PAPER,
    ),
    Measure(
        name="gradient_alignment",
        heading="gradient alignment",
        symbol="R",
        of="pair",
        is_cosine=True,
        explains=("perturbation_correlation", "error_ratio"),
        source=_PAPER,
    ),
    Measure(
        name="loss_variability",
        heading="variability of the loss",
        symbol="V",
        label="V, own loss",
        of="surrogate",
        source=_PAPER,
    ),
    Measure(
        name="loss_variability_cross_entropy",
        heading="variability of the cross-entropy",
        symbol="V",
        label="V, cross-entropy",
        of="surrogate",
        source=_PAPER,
    ),
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}


def curves() -> tuple[str, ...]:
    """Names of the curves, in the order of their columns."""
    return tuple(name for name, measure in MEASURES.items() if measure.is_curve)


def scalars() -> tuple[str, ...]:
    """Names of the scalars."""
    return tuple(name for name, measure in MEASURES.items() if not measure.is_curve)
