"""What a classifier answers, as logits ``(n, K)``: labels, probabilities or scores of n points, checked.

labels          ``(n,)``: indices 0..K-1, or names             logits are one-hot, and no loss of them is defined
probabilities   ``(n, K)``, or ``(n,)`` of class 1, for K = 2  logits log p, so that the cross-entropy is -log p_y
scores          ``(n, K)``, or ``(n,)`` for K = 2, positive for class 1; logits are they, or the pair (see ``margin``)

Probabilities below the spacing of float64 count as that spacing, as in scikit-learn's ``log_loss``: its cross-entropy is
finite, at most 36, where a classifier excludes the right class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_exp.types import Floats, Ints, UserError

Gives: TypeAlias = Literal["labels", "probabilities", "scores"]

_LEAST = float(np.finfo(np.float64).eps)
_ROUNDING = 1e-3  # of probabilities that were summed in half precision


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How answers are read. ``who``: whose they are, for errors.

    classes: what labels call the classes 0..K-1; without them whole numbers are indices, and text is one of ``names``.
    """

    who: str
    gives: Gives
    n_classes: int
    classes: Sequence[str | int] = ()
    names: Sequence[str] = ()

    def logits(self, answer: Any, n: int) -> Floats:
        """Logits ``(n, K)``, float64, of the answer on n points. Raises UserError on one of another kind or shape."""
        found = self._array(answer)
        if found.ndim == 2 and found.shape[1] == 1:
            found = found[:, 0]
        allowed = [(n,)] if self.gives == "labels" else [(n, self.n_classes), *[(n,)] * (self.n_classes == 2)]
        if found.shape not in allowed:
            raise self._refused(f"of shape {' or '.join(map(str, allowed))}", f"shape {found.shape}")
        if self.gives == "labels":
            return np.eye(self.n_classes)[self._indices(found)]
        values = self._real(found)
        if self.gives == "probabilities":
            return self._log(values)
        return values if values.ndim == 2 else np.stack([-values / 2, values / 2], axis=1)

    def _refused(self, expected: str, got: str) -> UserError:
        return UserError(f"{self.who}: expected {self.gives} {expected}, got {got}")

    def _array(self, answer: Any) -> npt.NDArray[Any]:
        """A copy: who answers may write the next answer into the same memory."""
        if hasattr(answer, "detach"):  # a tensor of torch
            answer = answer.detach().cpu().numpy()
        try:
            found = np.array(answer)
        except ValueError as error:
            raise self._refused("in one array", "rows of different lengths") from error
        if found.dtype.kind not in ("biufUO" if self.gives == "labels" else "biuf"):
            raise self._refused("as numbers", f"{type(answer).__name__} of {found.dtype}")
        return found

    def _indices(self, labels: npt.NDArray[Any]) -> Ints:
        if labels.dtype.kind == "f":
            raise self._refused("as whole numbers or names", f"{labels.dtype}; set gives to scores or probabilities")
        by_index = labels.dtype.kind in "biu" and not self.classes
        known = [str(one) for one in (range(self.n_classes) if by_index else self.classes or self.names)]
        values, inverse = np.unique(labels.astype(np.int64) if by_index else labels.astype(str), return_inverse=True)
        strangers = sorted(set(map(str, values)) - set(known))
        if strangers:
            advice = "set classes to what it calls them, in the order of the data's classes"
            raise self._refused(f"among {', '.join(known[:10])}", f"{strangers[0]}; {advice}")
        return np.array([known.index(str(value)) for value in values], dtype=np.int64)[inverse]

    def _real(self, values: npt.NDArray[Any]) -> Floats:
        if values.dtype.kind != "f":
            raise self._refused("as real numbers", f"{values.dtype}; set gives to labels, or give floats")
        real = values.astype(np.float64)
        if not np.isfinite(real).all():
            raise self._refused("that are finite", "NaN or inf")
        return real

    def _log(self, p: Floats) -> Floats:
        p = p if p.ndim == 2 else np.stack([1 - p, p], axis=1)
        wrong = np.abs(p.sum(axis=1) - 1) > _ROUNDING
        if wrong.any() or (p < -_ROUNDING).any():
            got = f"a sum of {p[wrong][0].sum():.6g}" if wrong.any() else f"{p.min():.6g}"
            raise self._refused("from 0 to 1 that sum to 1", f"{got}; set gives to scores")
        return deciding(np.log(np.maximum(p, _LEAST)), np.asarray(p.argmax(axis=1)))


def deciding(logits: Floats, decided: Ints) -> Floats:
    """Logits ``(n, K)`` whose largest is that of the class decided for, ``(n,)``.

    Where another one is, the decided class's is raised to just above it: a logarithm makes different probabilities equal,
    and some classifiers do not decide for their largest probability.
    """
    rows = np.flatnonzero(logits.argmax(axis=1) != decided)
    found = logits.copy()
    found[rows, decided[rows]] = np.nextafter(logits[rows].max(axis=1), np.inf)
    return found
