"""What measures find that take many passes through one model: in the store, with the seconds that they took."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from transfer_exp.measures.subject import Look, Subject
from transfer_exp.seeds import generator
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints
from transfer_exp.work import fitted as trained
from transfer_exp.work.base import Work
from transfer_exp.work.crafted import crafted, crafted_key, goals_on
from transfer_exp.work.fitted import Fitted

_CODE = ("measures", "optim", *trained.CODE, "work/looks.py")


def looked(
    work: Work, of: Fitted, rows: Ints, look: Look, *, on_attack: bool, options: dict[str, Any]
) -> tuple[Floats | None, float]:
    """What ``look`` finds of a model at the points of these rows, None where there is no such thing, and seconds.

    on_attack: it looks at the points made on the model, too, and at the reference epsilon.
    """
    dataset, seed = work.dataset, work.combination.seed
    grid = work.combination.epsilon
    made = crafted(work, of, rows) if on_attack else None

    def find() -> Arrays:
        x, y = work.part(rows)

        def attacked(k: int) -> Floats:
            assert made is not None, "a measure that looks at attacked points says so: on_attack"
            return made.points(k, x, dataset.box)

        subject = Subject(
            model=of.model,
            x=x,
            y=y,
            box=dataset.box,
            shape=dataset.shape,
            rng=generator(seed, "measures"),
            attacked=attacked,
            n_epsilons=len(grid.grid),
            reference=grid.grid.index(grid.reference),
            goals=goals_on(work, of, rows) if on_attack else None,
        )
        begin = time.perf_counter()
        values = look(subject, **options)
        seconds = np.array(time.perf_counter() - begin)
        return {"seconds": seconds} if values is None else {"seconds": seconds, "values": values}

    where: Any = {"points": crafted_key(work, of, rows), "reference": grid.reference} if on_attack else {
        "model": of.key, "data": dataset.checksum, "rows": checksum(rows), "box": dataset.box, "device": work.device.type,
    }  # fmt: skip
    key = signature(where=where, look=look, options=options, seed=seed, code=code_version(*_CODE))
    found = work.stored("look", key, find)
    return found.get("values"), float(found["seconds"])
