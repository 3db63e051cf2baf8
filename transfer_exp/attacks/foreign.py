"""Attacks of other libraries, and of the user: whatever they do, their points are checked and put into ball and box by us.

    for epsilon in grid:
        images = attack(copy of the model, images in [0, 1], classes, goals, epsilon)      in batches, generators seeded
        points = the nearest ones of ball and box; where an image is not finite the clean point

Points are as the attack made them at each epsilon: unlike those of ``evasion``, they may do less harm in a wider ball. What
an attack says of its success is not listened to; the objective is the margin of the points handed on. The model, the points
and the classes handed over are copies, so that an attack can change nothing that is used elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.foreign_calls import Call, Caller
from transfer_exp.attacks.foreign_guard import guarded
from transfer_exp.attacks.foreign_named import attack_named, caller, identity
from transfer_exp.attacks.foreign_space import UnitModel, UnitSpace
from transfer_exp.attacks.goals import ANY, require_goal
from transfer_exp.attacks.objective import BallBox, Margin, require_gradients, require_inside
from transfer_exp.learners import Model
from transfer_exp.optim.balls import ball
from transfer_exp.optim.batches import in_batches
from transfer_exp.optim.rays import Offsets, random_offsets
from transfer_exp.optim.state import Ascent, unmoved
from transfer_exp.types import Box, Floats, Ints, UserError, check_grid, reason

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """An attack of torchattacks, Foolbox or ART, or a function of the user's.

    attack: ``module:name`` (see ``foreign_calls`` for what a function is given). options: passed on to it; what is set where
    they leave it open: see ``foreign_calls``. norm: of the ball (see ``optim.balls``). goal: the class to reach (see
    ``goals``). batch_size: points attacked together, fewer where the model takes fewer. seed: of the attack's random starts.
    """

    scenario: ClassVar[str] = "classification"
    requires: ClassVar[frozenset[str]] = frozenset({"gradients", "unit_box"})
    attack: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    norm: str = "l2"
    goal: str | int = ANY
    batch_size: int = 500
    seed: int = 0
    name: str = field(default="", compare=False)
    code: Any = field(init=False, repr=False)
    """What stands for the attack in signatures: its library's version, or the class or function itself."""

    def __post_init__(self) -> None:
        ball(self.norm)
        require_goal(self.goal)
        for name, least in (("batch_size", 1), ("seed", 0)):
            if not getattr(self, name) >= least:
                raise UserError(f"attack.{name}: expected a whole number >= {least}, got {getattr(self, name)}")
        object.__setattr__(self, "name", self.name or self.attack)
        object.__setattr__(self, "code", identity(self._caller.attack))
        norms = self._caller.norms
        if norms is not None and self.norm not in norms:
            raise UserError(f"attack.norm: expected {' or '.join(norms)}, that of {self.attack}, got {self.norm}")

    @cached_property
    def _caller(self) -> Caller:
        return caller(attack_named(self.attack), self.attack, self.options)

    def require_space(self, box: Box, shape: tuple[int, ...] | None) -> UnitSpace:
        """The space that points in this box, ``shape`` as ``Dataset.shape``, are attacked in.

        Raises UserError where the ball would be none there, or where the attack takes no such images.
        """
        space = UnitSpace.of(box, shape, self.norm)
        channels = self._caller.channels
        if channels is not None and (len(space.shape) != 3 or space.shape[0] != channels):
            raise UserError(f"attack {self.attack}: expected images of {channels} channels, got shape {space.shape}")
        return space

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Ints,
        *,
        goals: Ints | None = None,
        epsilons: Sequence[float],
        box: Box,
        shape: tuple[int, ...] | None = None,
    ) -> Crafted:
        """Attack points ``(n, d)`` of classes ``(n,)`` on ``model``, at every epsilon of the ascending grid, each by itself.

        goals: ``(n,)``, the class that each is to reach; None: any but its own. shape: of one point, as ``Dataset.shape``.
        Raises UserError on a bad grid, a model without gradients, points outside the box, a box or a shape that does not fit
        (``require_space``), and where the attack fails or gives anything but numbers in the shape that it was given.
        """
        check_grid(epsilons)
        require_gradients(model)
        require_inside(x, box)
        space = self.require_space(box, shape)
        _say(self.attack, self._caller.shown())

        def part(rows: slice) -> Crafted:
            like = model.like
            clean = torch.as_tensor(x[rows]).to(like.device, torch.float64)
            label, target = (None if a is None else torch.as_tensor(a[rows]).to(like.device) for a in (y, goals))
            assert label is not None
            return _Batch(self, self._caller, model, space, clean, label, target, rows.start).attacked(epsilons, box)

        return Crafted.join(in_batches(part, len(x), size=min(self.batch_size, model.batch_size)))

    def noise(self, x: Floats, *, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Offsets:
        """Random offsets of points ``(n, d)``, of the attack's norm and sizes."""
        return random_offsets(x, ball=ball(self.norm), epsilons=epsilons, box=box, rng=rng)


@dataclass
class _Batch:
    """Points ``(n, d)``, float64, of classes ``label`` ``(n,)``; the first is the ``begin``-th of all."""

    attack: Foreign
    call: Caller
    model: Model
    space: UnitSpace
    clean: Tensor
    label: Tensor
    target: Tensor | None
    begin: int

    def attacked(self, epsilons: Sequence[float], box: Box) -> Crafted:
        lower, upper = (torch.as_tensor(a).to(self.clean) for a in (box.lower, box.upper))
        inside = BallBox(self.clean, lower, upper, ball(self.attack.norm), 0.0)
        start = unmoved(self.clean, self._margin(self.clean))
        ends = [self._at(k, inside.of_radius(e)) if e > 0 else _still(start) for k, e in enumerate(epsilons)]
        found = Crafted.of([end for end, _, _ in ends], self.clean, start.value)
        return replace(found, outside=np.stack([o for _, o, _ in ends]), not_finite=np.stack([n for _, _, n in ends]))

    def _at(self, k: int, inside: BallBox) -> tuple[Ascent, Floats, Any]:
        """Where the points are at the k-th epsilon, how far outside they were ``(n,)``, which were not finite ``(n,)``."""
        like = self.model.like
        images = self.space.images(self.clean.to(torch.float32 if self.call.single else like.dtype))
        model = self._copied()
        made = self._made(model, images, k, inside.epsilon)
        finite = made.float().isfinite().flatten(1).all(1)  # what single precision does not hold has no size in double
        offset = torch.where(finite[:, None], self.space.offsets(images, made), 0.0)
        outside = self._outside(offset, inside)
        x = inside.project(self.clean + offset, torch.arange(len(offset), device=offset.device))
        end = unmoved(x, self._margin(x))
        end.effort += model.effort
        return end, outside, (~finite).cpu().numpy()

    def _copied(self) -> UnitModel:
        """The model as the attack gets it: a copy for every call, which an attack may spoil."""
        try:
            return UnitModel(self.model, self.space)
        except (RuntimeError, TypeError) as error:  # what some modules raise that cannot be copied
            raise UserError(f"attack {self.attack.attack}: expected a model to copy, got: {reason(error)}") from error

    def _made(self, model: UnitModel, images: Tensor, k: int, epsilon: float) -> Tensor:
        """The images that the attack makes of (copies of) these; raises UserError where it fails or they are none."""
        seed = int(np.random.SeedSequence([self.attack.seed, k, self.begin]).generate_state(1)[0])
        y, goals = (None if a is None else a.clone() for a in (self.label, self.target))
        assert y is not None
        name, norm = self.attack.attack, self.attack.norm
        call = Call(model, images.clone(), y, goals, self.space.epsilon(epsilon), norm, self.attack.seed)
        try:
            with guarded(seed):
                made = torch.as_tensor(self.call(call)).detach().to(images.device)
        except (UserError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            flat = "" if len(self.space.shape) > 1 else "; the data are no images, which it may need"
            raise UserError(f"attack {name}: expected points, got {type(error).__name__}: {reason(error)}{flat}") from error
        if made.shape != images.shape or not made.is_floating_point():
            raise UserError(
                f"attack {name}: expected numbers of the shape {tuple(images.shape)} that it was given, got "
                f"{made.dtype} of shape {tuple(made.shape)}"
            )
        return made

    def _outside(self, offset: Tensor, inside: BallBox) -> Floats:
        """By how much each point is outside ball (as a share of epsilon) or box (of its width), ``(n,)``."""
        size = inside.ball.size(offset.cpu().numpy()) / inside.epsilon - 1
        width = torch.as_tensor(self.space.width).to(offset)
        box = (torch.maximum(offset - inside.high, inside.low - offset) / width).amax(1).cpu().numpy()
        return np.asarray(np.maximum(np.maximum(size, box), 0))

    @torch.no_grad()
    def _margin(self, x: Tensor) -> Tensor:
        rows = torch.arange(len(x), device=x.device)
        return Margin(self.model, self.label, self.target).value(x.to(self.model.like), rows)


def _still(start: Ascent) -> tuple[Ascent, Floats, Any]:
    n = len(start.value)
    return start, np.zeros(n), np.zeros(n, dtype=bool)


@cache
def _say(name: str, settings: str) -> None:
    """Once a process: what is set where the options leave it open."""
    if settings:
        _log.info("attack %s: set from epsilon, as its options do not: %s", name, settings)
