"""What an evasion attack hands on: points of one model over a grid of epsilons, and how the attack went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_exp.attacks.flips import Flips
from transfer_exp.optim.balls import ball
from transfer_exp.optim.state import Ascent
from transfer_exp.types import Box, Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """Attack points of one model over a grid of E epsilons.

    offsets: ``(E, n, d)`` float32, or ``Flips`` of binary points: ``offsets[k]`` is point less clean point.
    objective: ``(E, n)``, the margin that was maximised (see ``evasion``), of the model they were made on;
    clean_objective: ``(n,)``, of the clean points. For health and effort: what counts as success is the scenario's.
    exhausted, zero_gradient: ``(E, n)`` bool, points that ran out of iterations, that met a zero gradient.
    trace: ``(E, T)``, mean objective per iteration, padded with its last value. effort: ``(E, 4)``, fields of ``Effort``.
    Of ``foreign`` attacks, which do not tell the two flags above, else None: outside, ``(E, n)``, how far what they made was
    outside ball (as a share of epsilon) or box (of its width); not_finite, ``(E, n)`` bool, points that became no numbers.
    Of ``iterative`` attacks: steps, ``(2,)``, how many there were at each epsilon, and gradients of a point in one.
    """

    offsets: Floats | Flips
    objective: Floats
    clean_objective: Floats
    exhausted: npt.NDArray[np.bool_]
    zero_gradient: npt.NDArray[np.bool_]
    trace: Floats
    effort: Ints
    outside: Floats | None = None
    not_finite: npt.NDArray[np.bool_] | None = None
    steps: Ints | None = None

    def points(self, k: int, clean: Floats, box: Box, *, rows: Ints | slice = slice(None)) -> Floats:
        """The points ``(n, d)`` of the k-th epsilon, or these rows of them, made from the ``clean`` ones; inside the box."""
        points = np.asarray(clean[rows] + self.offsets[k][rows])
        np.maximum(points, box.lower, out=points)  # in place, and one after the other: np.clip takes twice the time
        return np.asarray(np.minimum(points, box.upper, out=points))

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Plain arrays that ``restore`` makes these results from: what to store."""
        offsets = self.offsets.state() if isinstance(self.offsets, Flips) else {"offsets": self.offsets}
        others = {name: array for name, array in vars(self).items() if name != "offsets" and array is not None}
        return {**others, **offsets}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Crafted:
        """The results whose ``state()`` was ``state``."""
        common = {f.name: state[f.name] for f in fields(cls) if f.name != "offsets" and f.name in state}
        return cls(offsets=state["offsets"] if "offsets" in state else Flips.restore(state), **common)

    @classmethod
    def of(cls, steps: Sequence[Ascent], clean: Tensor, objective: Tensor) -> Crafted:
        """The results of one batch: where the ascent of each epsilon ended, from ``clean`` points of this objective."""
        return cls(
            offsets=np.stack([(s.x - clean).float().cpu().numpy() for s in steps]),
            objective=_stack([s.value for s in steps]),
            clean_objective=objective.double().cpu().numpy(),
            exhausted=_stack([s.exhausted for s in steps]),
            zero_gradient=_stack([s.zero_gradient for s in steps]),
            trace=_pad([s.trace for s in steps]),
            effort=np.array([list(vars(s.effort).values()) for s in steps], dtype=np.int64),
        )

    @classmethod
    def join(cls, parts: Sequence[Crafted]) -> Crafted:
        """The results of several batches as one; the trace is their mean, weighted by points."""
        if len(parts) == 1:
            return parts[0]
        width = max(part.trace.shape[1] for part in parts)
        traces = [_pad(p.trace.tolist(), width) for p in parts]
        return cls(
            offsets=np.concatenate([p.offsets for p in parts], axis=1),
            objective=np.concatenate([p.objective for p in parts], axis=1),
            clean_objective=np.concatenate([p.clean_objective for p in parts]),
            exhausted=np.concatenate([p.exhausted for p in parts], axis=1),
            zero_gradient=np.concatenate([p.zero_gradient for p in parts], axis=1),
            trace=np.average(traces, axis=0, weights=[len(p.clean_objective) for p in parts]),
            effort=np.sum([p.effort for p in parts], axis=0),
            outside=_joined([p.outside for p in parts]),
            not_finite=_joined([p.not_finite for p in parts]),
            steps=parts[0].steps,
        )

    def health(self, clean: Floats, *, epsilons: Sequence[float], norm: str, box: Box) -> dict[str, float]:
        """What may be wrong with the points: shares of points, and the largest distance outside ball or box."""
        outside = [
            max(
                float(ball(norm).size(self.offsets[k].astype(np.float64)).max()) - epsilon,
                float((box.lower - clean - self.offsets[k]).max()),
                float((clean + self.offsets[k] - box.upper).max()),
            )
            for k, epsilon in enumerate(epsilons)
        ]
        common = {
            "not_rising": float((self.objective[-1] <= self.clean_objective).mean()) if epsilons[-1] > 0 else 0.0,
            "violation": max(0.0, *outside),
        }
        if self.outside is not None and self.not_finite is not None:
            unfinished = float(self.not_finite.any(axis=0).mean())
            return {**common, "foreign_outside": float(self.outside.max()), "foreign_not_finite": unfinished}
        if self.steps is not None:
            common |= {"n_steps": float(self.steps[0]), "gradients_per_step": float(self.steps[1])}
        zero = float(self.zero_gradient.any(axis=0).mean())
        return {"zero_gradient": zero, "iterations_exhausted": float(self.exhausted.mean()), **common}


def _stack(rows: Sequence[Tensor]) -> np.ndarray[Any, Any]:
    stacked = torch.stack(list(rows))
    return np.asarray((stacked.double() if stacked.is_floating_point() else stacked).cpu().numpy())


def _joined(parts: Sequence[Any]) -> Any:
    return None if any(part is None for part in parts) else np.concatenate(parts, axis=1)


def _pad(rows: Sequence[Sequence[float]], width: int = 0) -> Floats:
    width = max(width, *map(len, rows))
    return np.array([[*row, *[row[-1]] * (width - len(row))] for row in rows])
