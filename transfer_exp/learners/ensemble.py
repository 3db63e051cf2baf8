"""Learners that answer together.

With logits z of each of the members, the logits are means over the members of

    mean_logit    z_k
    mean_margin   z_k - max_{j != k} z_j
    vote          1 where z_k is the largest, else 0: the share of members that decide for k; no gradients, no loss of it

The members are trained, and stored, as they are alone. Of equal ones the first has the seed that the learner alone has; the
others have seeds of their own, so that they are not one model several times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, cast, get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.base import Learner
from transfer_exp.learners.model import Model
from transfer_exp.margin import predict
from transfer_exp.signature import signature
from transfer_exp.types import Dataset, Floats, Ints, Matrix, UserError

Combine: TypeAlias = Literal["mean_logit", "mean_margin", "vote"]


class EnsembleModel(Model):
    """Models of the same classes. Its own loss is that which all of them have, of the mean of their logits."""

    members: torch.nn.ModuleList

    def __init__(self, members: Sequence[Model], combine: Combine) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)
        self.combine = combine
        self.loss_name = common_loss([one.loss_name for one in members], combine)
        self.differentiable = combine != "vote" and all(one.differentiable for one in members)
        self.linear = combine == "mean_logit" and all(one.linear for one in members)
        self.precision = "single" if any(one.precision == "single" for one in members) else "double"
        self.batch_size = min(one.batch_size for one in members)
        self.gives = "labels" if combine == "vote" else "logits"
        self.eval()

    @property
    def models(self) -> list[Model]:
        """The members."""
        return cast(list[Model], list(self.members))

    @property
    def n_classes(self) -> int:
        """K."""
        return self.models[0].n_classes

    @property
    def converged(self) -> bool:
        """False where the solver of a member gave up."""
        return all(one.converged for one in self.models)

    @property
    def like(self) -> Tensor:
        """Of the first member of the ensemble's precision."""
        return next(one.like for one in self.models if one.precision == self.precision)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)`` of points ``(n, d)``; each member computes in its own precision."""
        return self._combined(torch.stack([one(x.to(one.like.dtype)).to(x.dtype) for one in self.models]))

    def logits(self, x: Matrix) -> Floats:
        """Logits ``(n, K)``, float64, of what each member gives, in its own batches."""
        return np.asarray(self._combined(torch.from_numpy(np.stack([one.logits(x) for one in self.models]))).numpy())

    def _combined(self, every: Tensor) -> Tensor:
        """Logits ``(n, K)`` of those of the members ``(m, n, K)``."""
        if self.combine == "vote":
            decided = torch.from_numpy(predict(every.detach().cpu().numpy())).to(every.device)
            return torch.nn.functional.one_hot(decided, every.shape[-1]).to(every.dtype).mean(0)
        if self.combine == "mean_margin":
            largest, second = torch.tensor_split(every.topk(2).values, 2, dim=-1)
            every = every - torch.where(every == largest, second, largest)
        return every.mean(0)

    def state(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """None: its members are stored, each on its own."""
        return None

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """Those of all members, where each has some and the logits are sums of them."""
        found = [one.landmarks(n_features) for one in self.models] if self.combine == "mean_logit" else [None]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        return torch.cat([centres for centres, _ in known]), torch.cat([classes for _, classes in known])


def common_loss(names: Sequence[str | None], combine: Combine) -> str | None:
    """The loss that all members have, which then is that of the mean of their logits, too; None: there is none."""
    return names[0] if len(set(names)) == 1 and combine == "mean_logit" else None


@dataclass(frozen=True, kw_only=True)
class Ensemble(Learner):
    """Members, ensembles among them if you like, by a name each; of a list, these are numbers. combine: see above."""

    members: Mapping[str, Learner] | Sequence[Learner]
    combine: Combine = "mean_logit"
    family = "ensemble"
    model_type = EnsembleModel

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.members
        named = dict(sorted(given.items())) if isinstance(given, Mapping) else {str(k): one for k, one in enumerate(given)}
        object.__setattr__(self, "members", named)
        object.__setattr__(self, "given", any(getattr(one, "given", False) for one in named.values()))
        if not named or not all(isinstance(one, Learner) for one in named.values()):
            raise UserError(f"{self.label}.members: expected one or more learners, got {given!r}")
        if self.combine not in get_args(Combine):
            raise UserError(f"{self.label}.combine: expected one of {', '.join(get_args(Combine))}, got {self.combine}")
        if self.scale != "none":
            raise UserError(f"{self.label}.scale: expected none, got {self.scale}; each member has its own")
        silent = [one.label for one in self.parts() if one.labels_only]
        if silent and self.combine != "vote":
            raise UserError(
                f"{self.label}.combine: expected vote for members that give labels only ({silent[0]}), got {self.combine}"
            )

    def parts(self) -> tuple[Learner, ...]:
        """The members."""
        assert isinstance(self.members, Mapping)
        return tuple(self.members.values())

    @property
    def differentiable(self) -> bool:
        """Whether all members are, and their mean is."""
        return self.combine != "vote" and all(one.differentiable for one in self.parts())

    @property
    def loss_name(self) -> str | None:
        """That of all members, of the mean of their logits."""
        return common_loss([one.loss_name for one in self.parts()], self.combine)

    @property
    def labels_only(self) -> bool:
        """Whether it is a vote."""
        return self.combine == "vote"

    @property
    def trains_on(self) -> str:
        """cuda where a member is trained there."""
        return "cuda" if any(one.trains_on == "cuda" for one in self.parts()) else "cpu"

    def to(self, device: str) -> Self:
        """The members on this device."""
        return self._of(lambda one: one.to(device))

    def on(self, dataset: Dataset) -> Self:
        """The members as they are for this data set."""
        return self._of(lambda one: one.on(dataset))

    def _of(self, change: Callable[[Learner], Learner]) -> Self:
        assert isinstance(self.members, Mapping)
        return self._with(members={name: change(one) for name, one in self.members.items()})

    def require_raw(self, role: str) -> None:
        """Of all members."""
        for one in self.parts():
            one.require_raw(role)

    def leaves(self) -> Iterator[Learner]:
        """The members and, of those that are ensembles, theirs."""
        for one in self.parts():
            yield from one.leaves() if isinstance(one, Ensemble) else [one]

    @property
    def structure(self) -> list[Any]:
        """How the leaves are joined: what tells ensembles of the same leaves apart."""
        return [self.combine, *(one.structure if isinstance(one, Ensemble) else None for one in self.parts())]

    def seeded(self, seed: int) -> list[tuple[Learner, int]]:
        """The leaves, each with the seed that it is trained with."""
        leaves = list(self.leaves())
        same = [sum(_alike(one, other) for other in leaves[:k]) for k, one in enumerate(leaves)]
        return [(one, _repeated(seed, n)) for one, n in zip(leaves, same, strict=True)]

    def joined(self, models: Iterator[Model]) -> EnsembleModel:
        """The ensemble of the fitted leaves."""
        return EnsembleModel(
            [one.joined(models) if isinstance(one, Ensemble) else next(models) for one in self.parts()], self.combine
        )

    def fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Train all of them on the same points."""
        return self.joined(iter([one.fit(x, y, n_classes=n_classes, seed=number) for one, number in self.seeded(seed)]))

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        return self.fit(x, y, n_classes=n_classes, seed=seed)


def _alike(one: Learner, other: Learner) -> bool:
    """Whether two learners would be one and the same model; ``functools.partial`` compares by identity, so not by ==."""
    return one == other or signature(learner=one) == signature(learner=other)


def _repeated(seed: int, k: int) -> int:
    """The seed of the k-th learner, from 0, of equal ones."""
    return seed if k == 0 else int(np.random.SeedSequence(seed, spawn_key=(k,)).generate_state(1)[0])
