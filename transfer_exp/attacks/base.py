"""What attacks have in common, and what the scenarios ask of them.

To add an attack: a file here with a frozen dataclass that has ``scenario``, ``requires``, ``name``, ``norm`` and ``craft``
(and of evasion ``batch_size`` and ``noise``: the protocols below), and its choice in conf/attack. A function of one's own,
or an attack of another library, needs no class: ``attack=foreign`` (docs/extending.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.learners import Learner, Model
from transfer_exp.types import Box, Floats, Ints


class Attack(Protocol):
    """Options of an attack.

    scenario: name of the threat model (``scenarios.SCENARIOS``). requires: what a combination must have, out of
    ``gradients`` (of the surrogate), ``retraining`` (of the surrogate), ``training`` (of both), ``two_classes``,
    ``binary_features``, ``unit_box``, ``images`` (where the attack's options ask for them).
    """

    scenario: ClassVar[str]
    requires: ClassVar[frozenset[str]]

    @property
    def name(self) -> str:
        """For display."""

    @property
    def norm(self) -> str:
        """Of the ball that points may move in (``optim.balls``)."""


class EvasionAttack(Attack, Protocol):
    """An attack on the points of a fitted model: scenarios classification and detection.

    It may have ``promises``, to which it is held when it is checked (``checks.attack``): ``rising`` (no point ends below its
    clean objective), ``independent`` (what becomes of a point does not depend on the others).
    """

    @property
    def batch_size(self) -> int:
        """Points moved together."""

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Ints,
        *,
        goals: Ints | None,
        epsilons: Sequence[float],
        box: Box,
    ) -> Crafted:
        """Attack points ``(n, d)`` of classes ``(n,)`` on a model at every epsilon; ``goals``: the classes to reach.

        One that also takes ``shape`` is given ``Dataset.shape``: that of one point, None for points that are no images.
        One whose ``mixes_known`` is true is given ``known``: points ``(m, d)`` and classes ``(m,)`` that the attacker has.
        """

    def noise(self, x: Floats, *, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Any:
        """Random offsets of the attack's norm and sizes: ``[k]`` gives those of the k-th epsilon, ``(n, d)``."""


def mixes_known(attack: Attack) -> bool:
    """Whether it mixes points that the attacker has into those it attacks."""
    return bool(getattr(attack, "mixes_known", False))


def crafted_by(
    attack: EvasionAttack,
    model: Model,
    x: Floats,
    y: Ints,
    *,
    goals: Ints | None,
    epsilons: Sequence[float],
    box: Box,
    shape: tuple[int, ...] | None,
    known: tuple[Floats, Ints] | None,
) -> Crafted:
    """What ``attack.craft`` makes; ``shape`` and ``known`` are given to those that take them."""
    more: dict[str, Any] = {"shape": shape} if "shape" in inspect.signature(attack.craft).parameters else {}
    if mixes_known(attack):
        more["known"] = known
    return attack.craft(model, x, y, goals=goals, epsilons=epsilons, box=box, **more)


class PoisoningAttack(Attack, Protocol):
    """An attack on the training data of a learner.

    It may have ``asks_surrogate``, False where any points would do for any learner, and ``optimises``, False where it leaves
    its points where they start, so that this is no sign of trouble.
    """

    def craft(
        self,
        learner: Learner,
        x: Floats,
        y: Ints,
        x_val: Floats,
        y_val: Ints,
        *,
        n_points: int,
        box: Box,
        seed: int,
        starts: tuple[Floats, Ints],
    ) -> Any:
        """``n_points`` points against a learner trained on ``(n, d)``: an ``attacks.poisoning.Poisoned``."""
