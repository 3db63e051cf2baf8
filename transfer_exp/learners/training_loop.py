"""The loop over epochs and batches, of one network or of several side by side.

    for each epoch:
        for each batch of a random order:
            prepare the batch (``training_loss``)
            gradient of the objective; with SAM: there, at the weights moved along it
            one step of the optimiser; the running mean of the weights
        the mean over epochs; one step of the schedule
        keep the weights, where checkpoints are wanted

Weight decay drives dead weights, and Adam's moments, below float32's normal range, where arithmetic is slow: these are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from transfer_exp.learners.training import TrainedLearner
from transfer_exp.learners.training_loss import Labels, Objective, rounded_apart
from transfer_exp.types import Matrix, UserError, counted, dense

State: TypeAlias = dict[str, Tensor]
_DEAD = float(np.sqrt(torch.finfo(torch.float32).tiny))
_GATHERED = 2**24  # numbers
_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


@dataclass(frozen=True)
class Examples:
    """What one network is trained on, and its random draws: of the order, of the options.

    x: ``(n, d)``, float32, or CSR. labels: signs of two classes, else class indices, ``(n,)``.
    """

    x: Tensor | Matrix
    labels: Tensor
    order: torch.Generator
    random: np.random.Generator

    def points(self, rows: Tensor) -> Tensor:
        """These points, dense, float32."""
        if isinstance(self.x, Tensor):
            return self.x.index_select(0, rows.to(self.x.device))
        return torch.as_tensor(dense(self.x[rows.numpy()]), dtype=torch.float32, device=self.labels.device)

    def to(self, device: str) -> Examples:
        """The same on a device; a CSR matrix stays, and its rows go there."""
        x = self.x.to(device) if isinstance(self.x, Tensor) else self.x
        return replace(self, x=x, labels=self.labels.to(device))


class Trainer:
    """Trains ``network`` on one set of examples, or as many as sets side by side, whose parameters have them as first axis.

    outputs: of a network for points ``(n, d)``, or ``(k, n, d)``. shape: of a point as the network takes it; None: flat.
    """

    def __init__(
        self,
        options: TrainedLearner,
        network: torch.nn.Module,
        outputs: Callable[[torch.nn.Module, Tensor], Tensor],
        examples: Sequence[Examples],
        *,
        stacked: bool = False,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.options, self.network, self.examples, self.stacked, self.shape = options, network, examples, stacked, shape
        self.objective = Objective(options, partial(outputs, network), [one.random for one in examples])
        self.parameters = [one for one in network.parameters() if one.requires_grad]
        self.has_norms = any(isinstance(one, _NORMS) for one in network.modules())
        self.mean = _mean_of_weights(options, network)
        self.slices: dict[Tensor, list[torch.nn.Parameter]] = {}
        if self.has_norms and options.batch_size == 1:
            raise UserError(f"{options.label}.batch_size: expected 2 or more for a network with batch norm, got 1")

    def train(self) -> list[State]:
        """Train; the network ends with the weights that are given. Of checkpoints: the states after each epoch."""
        optimiser = self.options.make_optimiser(self._groups())
        schedule = self.options.make_schedule(optimiser)
        states = []
        self.network.train()
        for epoch in range(self.options.n_epochs):
            for points, own in self._batches():
                loss = self._step(optimiser, *self.objective.prepared(points, own, self.network))
                if self.options.ema_decay:
                    self.mean.update_parameters(self.network)
            if not bool(torch.isfinite(loss)):
                after = counted(epoch + 1, "epoch")
                raise UserError(
                    f"{self.options.label}: expected a finite training loss, got {float(loss.detach())} after {after}; "
                    "choose a smaller learning_rate"
                )
            if self.options.swa_epochs and epoch >= self.options.n_epochs - self.options.swa_epochs:
                self.mean.update_parameters(self.network)
            if schedule is not None:
                schedule.step()
            if self.options.checkpoint:
                states.append({name: value.clone() for name, value in self._given().state_dict().items()})
        if self.mean is not None:
            self.network.load_state_dict(self._given().state_dict())
        for state in [dict(self.network.named_parameters()), *states]:
            self._leave_out_dead(state)
        return states

    @property
    def _of_weights(self) -> int:
        """Weights have two or more dimensions; biases and the like one."""
        return 2 if self.stacked else 1

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters as the optimiser has them: weights, which decay, and others; in slices if ``rounded_apart``."""
        weights: list[Tensor] = []
        others: list[Tensor] = []
        for one in self.parameters:
            if self.stacked and rounded_apart(one, one[0].numel()):
                self.slices[one] = [torch.nn.Parameter(part) for part in one.detach()]
            (weights if one.ndim > self._of_weights else others).extend(self.slices.get(one, [one]))
        groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": self.options.weight_decay}, {"params": others}]
        return [group for group in groups if group["params"]]

    @torch.no_grad()
    def _leave_out_dead(self, state: State) -> None:
        """Zero where weights are so small that products of two are denormal: far below what rounding does to any score."""
        for name, _ in self.network.named_parameters():
            weight = state[name]
            if weight.ndim > self._of_weights:
                weight.copy_(torch.where(weight.abs() < _DEAD, 0.0, weight))

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Points and labels of each batch; a point left over joins the batch before where there is batch norm."""
        orders = [torch.randperm(len(one.labels), generator=one.order) for one in self.examples]
        size, n = self.options.batch_size, len(orders[0])
        starts = list(range(0, n, size))
        if self.has_norms and n - starts[-1] == 1:
            starts.pop()
        cuts, many = [*starts, n], self._gathered_at_once
        for first in range(0, len(starts), many):
            block = cuts[first : first + many + 1]
            points, labels = self._gathered([order[block[0] : block[-1]] for order in orders])
            for start, end in pairwise(block):
                part = slice(start - block[0], end - block[0])
                yield points[..., part, :], labels[..., part]

    @property
    def _gathered_at_once(self) -> int:
        """Batches whose points are gathered at once: on a GPU many, where every call costs as much as a step of one."""
        of_batch = len(self.examples) * self.options.batch_size * int(self.examples[0].x.shape[1])
        return 1 if self.examples[0].labels.device.type == "cpu" else max(1, _GATHERED // of_batch)

    def _gathered(self, rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Points and labels of these rows of each network."""
        points = [one.points(part) for one, part in zip(self.examples, rows, strict=True)]
        labels = [one.labels[part.to(one.labels.device)] for one, part in zip(self.examples, rows, strict=True)]
        return (torch.stack(points), torch.stack(labels)) if self.stacked else (points[0], labels[0])

    def _step(self, optimiser: torch.optim.Optimizer, points: Tensor, labels: Labels) -> Tensor:
        self.network.zero_grad()
        loss = self.objective(points, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.sam_radius:
            self._gradient_uphill(points, labels)
        for one, parts in self.slices.items():
            for part, gradient in zip(parts, () if one.grad is None else one.grad.unbind(), strict=True):
                part.grad = gradient
        optimiser.step()
        return loss

    def _gradient_uphill(self, points: Tensor, labels: Labels) -> None:
        """Replace the gradients by those at the weights moved by ``sam_radius`` along them; statistics stay."""
        moved = [one for one in self.parameters if one.grad is not None]
        kept = [one.detach().clone() for one in moved]
        buffers = [one.clone() for one in self.network.buffers()]
        with torch.no_grad():
            for one, step in zip(moved, self._uphill(moved), strict=True):
                one.add_(step)
        self.network.zero_grad()
        self.objective(points, labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for changed, before in zip([*moved, *self.network.buffers()], [*kept, *buffers], strict=True):
                changed.copy_(before)

    def _uphill(self, moved: Sequence[Tensor]) -> list[Tensor]:
        """Steps of length ``sam_radius`` of each network along its gradient; none where that is zero."""
        rows = [one.grad.reshape(len(self.examples), -1) for one in moved if one.grad is not None]
        size = torch.stack([one.square().sum(1) for one in rows]).sum(0).sqrt()[:, None]
        length = self.options.sam_radius / torch.where(size > 0, size, 1.0)
        return [(length * row).view_as(one) for row, one in zip(rows, moved, strict=True)]

    def _given(self) -> torch.nn.Module:
        """The network with the weights that are given: its own, or their mean, statistics of batch norm taken anew."""
        if self.mean is None or not int(self.mean.n_averaged):
            return self.network
        given: torch.nn.Module = deepcopy(self.mean.module)
        if self.has_norms:
            (one,) = self.examples
            with torch.random.fork_rng([]):  # the next epoch draws as if nobody had looked
                parts = torch.split(torch.arange(len(one.labels)), self.options.batch_size)
                update_bn((self._shaped(one.points(rows)) for rows in parts if len(rows) > 1), given)
        return given

    def _shaped(self, points: Tensor) -> Tensor:
        return points if self.shape is None else points.reshape(len(points), *self.shape)


def _mean_of_weights(options: TrainedLearner, network: torch.nn.Module) -> Any:
    if options.ema_decay:
        average: Any = get_ema_multi_avg_fn  # has no types
        return AveragedModel(network, multi_avg_fn=average(options.ema_decay))
    return AveragedModel(network) if options.swa_epochs else None


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """See above; afterwards it is as it was."""
    before = float(torch.full((), 5e-324, dtype=torch.float64) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """On a GPU: float32 in convolutions, too, and the same bits every time. Afterwards it is as it was."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    cudnn.deterministic, cudnn.allow_tf32 = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32 = before
