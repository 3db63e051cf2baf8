"""Measures of one model that take many passes through it: asked for by name, made once a model, kept in the store.

    measures=networks        those of surrogates and pairs, by conf/measures/networks.yaml
    measures=[cka,interaction]

Each is a function of a ``Subject``, and ``of_model`` makes the ``compute`` of a measure from it. What a model has not (no
gradients, no second derivatives) the function says by returning None: then the measure is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np

from transfer_exp.learners import Model
from transfer_exp.measures.base import Compute
from transfer_exp.types import Box, Floats, Ints

Role: TypeAlias = Literal["surrogate", "target"]
_MOST_NUMBERS = 2**23  # in the random directions that are held at once


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and where it is looked at.

    x: clean points ``(n, d)`` of classes y ``(n,)``, in a ``box``; shape: of one point, None where it is no image. rng: what
    is random. attacked: ``attacked(k)`` is the points ``(n, d)`` that were made on the model at the k-th of ``n_epsilons``;
    reference: the place of the reference epsilon; goals: the classes ``(n,)`` to reach, None: any other.
    """

    model: Model
    x: Floats
    y: Ints
    box: Box
    shape: tuple[int, ...] | None
    rng: np.random.Generator
    attacked: Callable[[int], Floats]
    n_epsilons: int
    reference: int
    goals: Ints | None

    @property
    def diagonal(self) -> float:
        """Length of the box's diagonal: the unit of radii."""
        return float(np.linalg.norm(self.box.upper - self.box.lower))

    def parts(self) -> Iterator[slice]:
        """Rows, few enough for their random directions to fit; they depend on the data alone, so that draws do, too."""
        n, d = self.x.shape
        size = max(1, _MOST_NUMBERS // d)
        return (slice(begin, min(begin + size, n)) for begin in range(0, n, size))


Look: TypeAlias = Callable[..., "Floats | None"]
"""(subject, **options) -> the values of a measure, or None."""


def of_model(look: Look, *, name: str, role: Role = "surrogate", on_attack: bool = False, **options: Any) -> Compute:
    """The ``compute`` of a measure of one model; on_attack: it looks at the attacked points, too."""
    return partial(_looked, look=look, name=name, role=role, on_attack=on_attack, options=options)


def _looked(context: Any, *, look: Look, name: str, role: Role, on_attack: bool, options: dict[str, Any]) -> Floats | None:
    found: Floats | None = context.look(role, look, name=name, on_attack=on_attack, **options)
    return found


def of_target(role: Role) -> str:
    """The end of a heading: measures of one model are the surrogate's unless it says otherwise."""
    return " of the target" if role == "target" else ""


def directions(rng: np.random.Generator, n: int, d: int) -> Floats:
    """Random unit vectors ``(n, d)``."""
    drawn = rng.normal(size=(n, d))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
