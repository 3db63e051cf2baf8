"""What is measured: name, symbol, heading, of what. Pipeline, csv files, tables, report and MLflow read it here.

A *scalar* is a number a combination, an MLflow metric under its name; a *curve* has a value at every epsilon of the grid, a
column of ``curves.csv`` and the MLflow metric ``curve/<name>``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Of: TypeAlias = Literal["surrogate", "target", "pair"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: ``name`` of its column and metric, ``symbol`` of the literature ("" for none), ``heading`` in words.

    of: what it is a property of, and over what tables take its mean. is_curve: one value an epsilon. is_share: between 0 and
    1, shown in percent. source: where it is defined.
    """

    name: str
    heading: str
    of: Of
    symbol: str = ""
    is_curve: bool = False
    is_share: bool = False
    source: str = ""


_PAPER = "Demontis et al. 2019, section 3"
_ALL = (
    Measure(name="error", heading="error of the target", of="pair", is_curve=True, is_share=True),
    Measure(
        name="success", heading="success: of the points that were right before", of="pair", is_curve=True, is_share=True
    ),
    Measure(name="whitebox_error", heading="white-box error", of="target", is_curve=True, is_share=True),
    Measure(name="whitebox_success", heading="white-box success", of="target", is_curve=True, is_share=True),
    Measure(name="surrogate_error", heading="error of the surrogate", of="surrogate", is_curve=True, is_share=True),
    Measure(name="loss", heading="loss of the target", of="pair", is_curve=True),
    Measure(name="loss_cross_entropy", heading="cross-entropy of the target", of="pair", is_curve=True),
    Measure(
        name="perturbation_correlation",
        heading="correlation of black-box and white-box perturbation",
        symbol="rho",
        of="pair",
        is_curve=True,
        source=_PAPER,
    ),
    Measure(name="perturbation_l1", heading="size of the perturbation, l1", of="surrogate", is_curve=True),
    Measure(name="perturbation_l2", heading="size of the perturbation, l2", of="surrogate", is_curve=True),
    Measure(name="perturbation_linf", heading="size of the perturbation, linf", of="surrogate", is_curve=True),
    Measure(
        name="noise_error", heading="error under random noise of the same size", of="target", is_curve=True, is_share=True
    ),
    Measure(name="clean_error", heading="clean error of the target", of="target", is_share=True),
    Measure(name="surrogate_clean_error", heading="clean error of the surrogate", of="surrogate", is_share=True),
    Measure(name="gradient_size", heading="size of input gradients", symbol="S", of="target", source=_PAPER),
    Measure(
        name="gradient_size_cross_entropy",
        heading="size of input gradients of the cross-entropy",
        symbol="S",
        of="target",
        source=_PAPER,
    ),
    Measure(name="gradient_alignment", heading="gradient alignment", symbol="R", of="pair", source=_PAPER),
    Measure(name="loss_variability", heading="variability of the loss", symbol="V", of="surrogate", source=_PAPER),
    Measure(
        name="loss_variability_cross_entropy",
        heading="variability of the cross-entropy",
        symbol="V",
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
