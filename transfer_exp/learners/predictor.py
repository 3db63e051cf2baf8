"""Any function from points to labels, probabilities or scores: a model behind an interface, rules, another library's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from transfer_exp.learners.black_box import BlackBox, GivenModel
from transfer_exp.types import Ints, Matrix, UserError


@dataclass(frozen=True, kw_only=True)
class Predictor(BlackBox):
    """A function that classifies points.

    function: takes an array of points ``(n, d)`` or ``(n, *shape)`` in raw units, gives an answer for each. dtype: of the
    array. Its answer may depend on a point alone, not on the others of its batch, nor on what was asked before.
    """

    function: Callable[..., Any]
    dtype: Literal["float64", "float32"] = "float64"
    family = "predictor"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise UserError(
                f"{self.label}.function: expected a function of points, got {self.function!r}; set function._target_ to "
                "package.module.name and function._partial_ to true"
            )

    @property
    def label(self) -> str:
        """The name, or that of the function."""
        return self.name or self._function_name

    @property
    def who(self) -> str:
        """The name, and that of the function."""
        return f"{self.name} ({self._function_name})" if self.name else self._function_name

    @property
    def _function_name(self) -> str:
        named = self.function.func if isinstance(self.function, partial) else self.function
        return str(getattr(named, "__qualname__", type(named).__qualname__))

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> GivenModel:
        shape = None if isinstance(self.shape, str) else self.shape
        return GivenModel(self.function, self._answers(n_classes), shape=shape, dtype=self.dtype, batch_size=self.batch_size)
