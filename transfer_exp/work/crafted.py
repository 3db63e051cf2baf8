"""Attack points made on a model, and what depends on that model and its points alone: shared through the store."""

from __future__ import annotations

import logging
from typing import cast

import numpy as np

from transfer_exp.attacks.base import EvasionAttack, crafted_by, mixes_known
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.goals import ANY, goal_classes
from transfer_exp.optim.balls import BALLS
from transfer_exp.signature import Key, checksum, code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints, counted, dense
from transfer_exp.work.base import Work
from transfer_exp.work.clean import clean_logits
from transfer_exp.work.fitted import Fitted

_log = logging.getLogger(__name__)
CODE = (
    "attacks",
    "data/binary.py",
    "learners",
    "margin.py",
    "measures",
    "optim",
    "seeds.py",
    "types.py",
    "work/base.py",
    "work/clean.py",
    "work/crafted.py",
    "work/fitted.py",
    "work/recent.py",
)


def goals_on(work: Work, attacked: Fitted, rows: Ints) -> Ints | None:
    """The class ``(n,)`` that each point of these rows should be taken for when it is made on a model; None: any other."""
    if work.goal == ANY:
        return None
    return goal_classes(work.goal, work.dataset.y[rows], clean_logits(work, attacked, rows))


def crafted_key(work: Work, attacked: Fitted, rows: Ints) -> Key:
    """What the attack points of these rows, made on a model, are stored under."""
    attack, known = work.combination.attack, work.split.surrogate
    return signature(
        model=attacked.key,
        attack=attack,
        goal=work.goal,  # a class by its index: names of classes are no part of the data's checksum
        data=work.dataset.checksum,
        box=work.dataset.box,
        shape=work.dataset.shape,
        rows=checksum(rows),
        grid=work.epsilons,
        device=work.device.type,
        code=code_version(*CODE),
        **({"known": checksum(known)} if mixes_known(attack) else {}),
    )


def crafted(work: Work, attacked: Fitted, rows: Ints) -> Crafted:
    """Attack points of these rows made on a model, from the store when they were made before."""

    def make() -> Arrays:
        _log.info("crafting %s on %s", counted(len(rows), "point"), type(attacked.model).__name__)
        x, y = work.part(rows)
        goals = goals_on(work, attacked, rows)
        attack = cast(EvasionAttack, work.combination.attack)  # the scenarios that come here have no other
        box, shape = work.dataset.box, work.dataset.shape
        known = work.part(work.split.surrogate) if mixes_known(attack) else None
        made = crafted_by(
            attack, attacked.model, x, y, goals=goals, epsilons=work.epsilons, box=box, shape=shape, known=known
        )
        return made.state()

    return Crafted.restore(work.stored("crafted", crafted_key(work, attacked, rows), make))


def logits_on(work: Work, attacked: Fitted, rows: Ints, made: Crafted) -> Floats:
    """Logits ``(E, n, K)`` of a model on attack points of these rows, whatever model they were made on."""
    clean, box = dense(work.dataset.x[rows]), work.dataset.box

    def logits(k: int) -> Floats:
        if not made.offsets[k].any():
            return clean_logits(work, attacked, rows)
        return attacked.model.logits(made.points(k, clean, box))

    return np.stack([logits(k) for k in range(len(work.epsilons))])


def own_logits(work: Work, attacked: Fitted, rows: Ints, made: Crafted) -> Floats:
    """The same of the points ``made`` on it, from the store."""
    key = signature(points=crafted_key(work, attacked, rows), code=code_version(*CODE))
    return work.stored("own_logits", key, lambda: {"logits": logits_on(work, attacked, rows, made)})["logits"]


def extent(work: Work, attacked: Fitted, rows: Ints, made: Crafted) -> Arrays:
    """Mean perturbation size ``perturbation_l1`` ... ``(E,)`` of the points ``made`` on a model, and ``health/`` numbers."""

    def measure() -> Arrays:
        offsets = [made.offsets[k].astype(np.float64) for k in range(len(work.epsilons))]
        sizes = {f"perturbation_{name}": np.array([b.size(o).mean() for o in offsets]) for name, b in BALLS.items()}
        clean = dense(work.dataset.x[rows])
        health = made.health(clean, epsilons=work.epsilons, norm=work.ball.name, box=work.dataset.box)
        return sizes | {f"health/{name}": np.array(value) for name, value in health.items()}

    key = signature(points=crafted_key(work, attacked, rows), code=code_version(*CODE))
    return work.stored("extent", key, measure)
