"""Measures of the user's own, which a combination brings along: what they may be, and what their functions may return.

They are taken after those of ``registry``. A run records what a report needs to show them (``tracking.measured``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np

from transfer_exp.measures.base import TRANSFER, Measure, Of
from transfer_exp.measures.registry import MEASURES
from transfer_exp.signature import signature
from transfer_exp.types import Floats, UserError

_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
_AT_EPSILON = re.compile(r"_at_[0-9]")
_LONGEST = 200  # characters of a text: it heads columns and axes
_TEXTS = ("heading", "symbol", "source", "label")
_OTHER_COLUMNS = {
    *("attack", "data_checksum", "dataset", "device", "end_time", "epsilon", "error_ratio", "git_commit", "goal"),
    *("learner", "mean", "mean_transfer", "mean_transferred_error", "n_variability", "objective", "parent", "run_id"),
    *("scale", "scenario", "seconds", "seed", "signature", "start_time", "status", "study", "surrogate"),
    *("surrogate_fraction", "target", "threads", "unknown"),
}
"""Columns of curves.csv, runs.csv and tables that are no measures."""


def check_own(measures: Sequence[Measure]) -> None:
    """Raise UserError unless these measures can be taken, recorded and reported beside those of the registry."""
    names = [measure.name for measure in measures]
    for measure in measures:
        where = f"measures.{measure.name}"
        check_shown(measure)
        if measure.name in MEASURES or names.count(measure.name) > 1:
            raise UserError(f"{where}: expected a name of its own, got one that is taken; choose another")
        known = explainable(measure.of, measures)
        others = [column for column in measure.explains if column not in known]
        if others:
            raise UserError(f"{where}.explains: expected some of {', '.join(sorted(known))}, got {others[0]}")
        _check_function(measure, where)


def _check_function(measure: Measure, where: str) -> None:
    expected = f"{where}.compute: expected a function, or functools.partial of one with numbers, texts and arrays"
    if not callable(measure.compute):
        raise UserError(f"{expected}, got {measure.compute}")
    try:
        signature(measure=measure)
    except TypeError as error:
        raise UserError(f"{expected}, got {type(measure.compute).__name__}: {error}") from None


def check_shown(measure: Measure) -> None:
    """Raise UserError unless a report can show a measure of this name and these words."""
    where = f"measures.{measure.name}"
    if not _NAME.fullmatch(measure.name) or _AT_EPSILON.search(measure.name):
        raise UserError(
            f"{where}: expected a name of letters, digits and _, without _at_ and a number, got {measure.name!r}"
        )
    if measure.name in _OTHER_COLUMNS:
        raise UserError(f"{where}: expected a name of its own, got that of a column; choose another")
    for name in _TEXTS:
        text = getattr(measure, name)
        if not isinstance(text, str) or len(text) > _LONGEST or not text.isprintable():
            raise UserError(f"{where}.{name}: expected a line of at most {_LONGEST} characters, got {text!r:.80}")
    if not measure.heading:
        raise UserError(f"{where}.heading: expected what the measure is, in words, got nothing; set it")
    if measure.of not in get_args(Of):
        raise UserError(f"{where}.of: expected one of {', '.join(get_args(Of))}, got {measure.of}")
    if measure.norm:
        raise UserError(f"{where}.norm: expected none (it is for sizes of perturbations), got {measure.norm}")


def explainable(of: Of, measures: Collection[Measure]) -> set[str]:
    """What a measure of this role may explain: the columns of the table that it stands in."""
    columns = {measure.name for measure in (*MEASURES.values(), *measures) if measure.of == of}
    return columns | {TRANSFER} | ({"error_ratio"} if of == "pair" else set())


def checked(measure: Measure, *, n_epsilons: int) -> Measure:
    """The measure with a function that raises UserError, naming it, where its own raises, or returns no such values."""
    return replace(measure, compute=partial(_checked_values, measure, n_epsilons))


def _checked_values(measure: Measure, n_epsilons: int, context: Any) -> Floats | None:
    assert measure.compute is not None
    for made in getattr(context, "__dict__", {}).values():  # what is cached serves other measures, too
        if isinstance(made, np.ndarray):
            made.setflags(write=False)
    try:
        returned = measure.compute(context)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"measures.{measure.name}: expected values, got {type(error).__name__}: {error}") from error
    if returned is None:
        return None
    shapes = f"({n_epsilons},) or ({n_epsilons}, n), one row an epsilon" if measure.is_curve else "(n,), one a point"
    expected = f"measures.{measure.name}: expected None or numbers {shapes}, NaN where undefined"
    try:
        values = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{expected}, got {type(returned).__name__}") from None
    fits = values.ndim in (1, 2) and len(values) == n_epsilons if measure.is_curve else values.ndim == 1
    if not fits or not values.size:
        raise UserError(f"{expected}, got an array of shape {values.shape}")
    if np.isinf(values).any():
        raise UserError(f"{expected}, got inf")
    return values
