"""Evasion of binary points by whole features (paper, section 4.2): greedy, batched, the whole grid in one pass.

    maximise  z_0(x) - z_1(x)
    subject to  |x - x_0|_1 <= epsilon,  x in {0, 1}^d,  x_k = x_0k where feature k must not change

Each change flips the feature with the largest first-order gain at the current point,

    gain_k = (1 - 2 x_k) d(z_0 - z_1)/dx_k     over the features that may still change,

and is kept only where the objective really rises; else the next best feature of positive gain is tried, ``n_tries`` at
most, and when none raises it the point stops. So the objective never falls, and a point may use less than its budget: when
no feature promises a gain, another change would only help the defender. A feature changes once at most. On a linear score
the gains are exact and add up: the result is the optimum, the epsilon features of largest weight in the evading direction.

    for each change:   order the features by their gain
                       flip the best of the first n_tries that raises the objective; stop where none does

Only points of class 1 (malware) are attacked, to be taken for class 0: a legitimate app has no detector to evade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.flips import Flips, random_flips
from transfer_exp.attacks.goals import ANY
from transfer_exp.attacks.objective import Difference, require_gradients
from transfer_exp.data.binary import require_binary
from transfer_exp.learners import Model
from transfer_exp.optim.batches import in_batches, rows_of
from transfer_exp.optim.state import Effort
from transfer_exp.types import Box, Floats, Ints, Matrix, UserError, check_grid, dense

Change: TypeAlias = Literal["add", "remove", "both"]
_MOST_CHANGES = np.iinfo(np.int16).max


@dataclass(frozen=True, kw_only=True)
class EvasionAdd:
    """Options of the attack.

    change: whether features may be added (0 to 1), removed (1 to 0) or both. fixed: columns that must not change, as
    numbered in the points given to ``craft``. n_tries: features tried for one change. batch_size: points at a time.
    Used in the evaluation only, not by ``craft``: n_attacked, how many malware test points are attacked (None: all);
    false_alarm_rate, the share of legitimate points that the detector may flag.
    """

    scenario: ClassVar[str] = "detection"
    requires: ClassVar[frozenset[str]] = frozenset({"gradients", "binary_features", "two_classes"})
    promises: ClassVar[frozenset[str]] = frozenset({"rising", "independent"})
    norm: ClassVar[str] = "l1"
    """Whole features are counted by the l1 norm."""
    goal: ClassVar[str] = ANY
    name: str = field(default="evasion_add", compare=False)
    change: Change = "add"
    fixed: tuple[int, ...] = ()
    n_tries: int = 5
    batch_size: int = 1000
    n_attacked: int | None = None
    false_alarm_rate: float = 0.005

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", tuple(self.fixed))
        if self.change not in get_args(Change):
            raise UserError(f"attack.change: expected one of {', '.join(get_args(Change))}, got {self.change}")
        if self.n_tries < 1 or self.batch_size < 1:
            raise UserError(
                f"attack: expected n_tries >= 1, batch_size >= 1, got n_tries={self.n_tries}, batch_size={self.batch_size}"
            )
        if self.n_attacked is not None and self.n_attacked < 1:
            raise UserError(f"attack.n_attacked: expected a whole number >= 1 or null, got {self.n_attacked}")
        if not 0 < self.false_alarm_rate < 1:
            raise UserError(f"attack.false_alarm_rate: expected a share between 0 and 1, got {self.false_alarm_rate}")

    def among(self, columns: Ints, n_features: int) -> EvasionAdd:
        """The attack on points that keep only these of ``n_features`` columns: ``fixed`` is numbered anew."""
        self.require_fixed(n_features)
        return replace(self, fixed=tuple(np.flatnonzero(np.isin(columns, self.fixed)).tolist()))

    def require_fixed(self, n_features: int) -> None:
        """Raise UserError unless every ``fixed`` column is one of ``n_features``."""
        strangers = sorted(k for k in self.fixed if not 0 <= k < n_features)
        if strangers:
            raise UserError(f"attack.fixed: expected columns from 0 to {n_features - 1}, got {strangers[:5]}")

    def craft(
        self,
        model: Model,
        x: Matrix,
        y: Ints,
        *,
        goals: Ints | None = None,
        epsilons: Sequence[float],
        box: Box,
    ) -> Crafted:
        """Attack binary points ``(n, d)``, dense or CSR, of classes ``(n,)`` all 1, at every epsilon of the grid.

        An epsilon allows as many changes as it holds whole features; a feature moves only where the box has room for 0
        and 1. goals: ``(n,)`` all 0, or None, which means the same. Raises UserError on a bad grid, a model without
        gradients, points not binary, classes other than 1, goals other than 0.
        """
        check_grid(epsilons)
        require_gradients(model)
        require_binary(x, "attack")
        self._check(x, y, goals, epsilons)
        budget = _budget(epsilons)
        n_changes = int(budget[-1])
        runs = in_batches(lambda rows: self._run(model, dense(x[rows]), n_changes, box), len(y), size=self.batch_size)
        return _crafted(runs, budget)

    def noise(self, x: Floats, *, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Flips:
        """As many random changes of binary points ``(n, d)`` as the attack may make, of the features that it may change."""
        direction = self._direction(x, box).numpy().astype(np.int64)
        return random_flips(direction, budget=_budget(epsilons), rng=rng)

    def _check(self, x: Matrix, y: Ints, goals: Ints | None, epsilons: Sequence[float]) -> None:
        wrong = sorted(set(np.unique(y).tolist()) - {1})
        if wrong or not len(y):
            raise UserError(f"attack: expected only points of class 1 (malware), got labels {wrong or 'of no point'}")
        if goals is not None and goals.any():
            raise UserError(
                f"attack: expected class 0 (legitimate) as the goal of all points, got {np.unique(goals).tolist()}"
            )
        self.require_fixed(int(x.shape[1]))
        if epsilons[-1] > _MOST_CHANGES:
            raise UserError(f"epsilon.grid: expected at most {_MOST_CHANGES} features, got {epsilons[-1]}")

    def _run(self, model: Model, x: Floats, n_changes: int, box: Box) -> _Run:
        like = model.like
        points = torch.tensor(x).to(like)  # a copy: points move in place
        malware = torch.ones(len(points), dtype=torch.int64, device=like.device)
        run = _Run(Difference(model, 1 - malware, malware), points, self._direction(x, box).to(like))
        for _ in range(n_changes):
            run.change(self.n_tries)
        return run

    def _direction(self, x: Floats, box: Box) -> Tensor:
        """+1 where a feature may be added, -1 where it may be removed, 0 where it must stay, ``(n, d)``."""
        room = (box.lower <= 0) & (box.upper >= 1)
        room[list(self.fixed)] = False
        start = {"add": x == 0, "remove": x == 1, "both": np.ones_like(x, dtype=bool)}[self.change]
        return torch.as_tensor(np.where(start & room, 1 - 2 * x, 0))


def _budget(epsilons: Sequence[float]) -> Ints:
    """Changes that each epsilon allows: the whole features that it holds."""
    return np.floor(np.asarray(epsilons, dtype=np.float64)).astype(np.int64)


class _Run:
    """A batch under attack; after t calls of ``change`` every list holds t + 1 entries, from the clean points on."""

    def __init__(self, objective: Difference, x: Tensor, direction: Tensor) -> None:
        self.objective, self.x, self.direction = objective, x, direction
        self.rows = torch.arange(len(x), device=x.device)  # the points that have not stopped
        self.order = torch.zeros(x.shape, dtype=torch.int16, device=x.device)
        self.value = [objective.value(x, self.rows)]
        self.zero_gradient = [torch.zeros(len(x), dtype=torch.bool, device=x.device)]
        self.effort = [Effort(score_calls=1, score_rows=len(x))]

    def change(self, n_tries: int) -> None:
        """One more feature of every point that has not stopped."""
        rows, value, zero, effort = self.rows, self.value[-1].clone(), torch.zeros_like(self.zero_gradient[0]), Effort()
        if len(rows):
            gradient = self.objective.gradient(rows_of(self.x, rows), rows)
            effort += Effort(gradient_calls=1, gradient_rows=len(rows))
            zero[rows] = ~gradient.any(1)
            changed, tried = self._flip_best(rows, gradient.mul_(rows_of(self.direction, rows)), value, n_tries)
            effort += tried
            self.rows = rows[changed]
        self.value.append(value)
        self.zero_gradient.append(zero)
        self.effort.append(effort)

    def _flip_best(self, rows: Tensor, gain: Tensor, value: Tensor, n_tries: int) -> tuple[Tensor, Effort]:
        """Try features in the order of their ``gain`` ``(m, d)``; which of ``rows`` changed, ``(m,)``."""
        changed = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        todo = torch.arange(len(rows), device=rows.device)
        effort = Effort()
        for _ in range(n_tries):
            best, column = rows_of(gain, todo).max(1)
            todo, column = todo[best > 0], column[best > 0]
            if not len(todo):
                break
            better = self._try(rows[todo], column, value)
            effort += Effort(score_calls=1, score_rows=len(todo))
            changed[todo[better]] = True
            gain[todo, column] = 0
            todo = todo[~better]
        return changed, effort

    def _try(self, rows: Tensor, column: Tensor, value: Tensor) -> Tensor:
        """Flip one feature of each of ``rows``; keep it where the objective rises, and say where, ``(m,)``."""
        self.x[rows, column] = 1 - self.x[rows, column]
        new = self.objective.value(rows_of(self.x, rows), rows)
        better = new > value[rows]
        undone, undone_column = rows[~better], column[~better]
        self.x[undone, undone_column] = 1 - self.x[undone, undone_column]
        rows, column = rows[better], column[better]
        value[rows] = new[better]
        sign = self.direction[rows, column].to(torch.int16)
        self.direction[rows, column] = 0
        self.order[rows, column] = sign * len(self.value)  # the clean value is the first: this is change number len
        return better


def _crafted(runs: Sequence[_Run], budget: Ints) -> Crafted:
    """The results of all batches at the given numbers of changes."""
    values = np.concatenate([torch.stack(run.value).double().cpu().numpy() for run in runs], axis=1)
    zeros = np.concatenate([torch.stack(run.zero_gradient).cpu().numpy() for run in runs], axis=1)
    effort = np.sum([[list(vars(e).values()) for e in run.effort] for run in runs], axis=0)
    spent = np.cumsum(effort, axis=0)[budget]
    return Crafted(
        offsets=Flips(order=np.concatenate([run.order.cpu().numpy() for run in runs]), budget=budget),
        objective=values[budget],
        clean_objective=values[0],
        exhausted=np.zeros((len(budget), values.shape[1]), dtype=bool),
        zero_gradient=np.stack([zeros[: b + 1].any(axis=0) for b in budget]),
        trace=values.mean(axis=1)[np.minimum(np.arange(len(values)), budget[:, None])],
        effort=np.diff(spent, axis=0, prepend=0),
    )
