"""The slow pieces of a combination, shared through the store: fitted learners and crafted points."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from transfer_exp import seeds
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import Learner, Model
from transfer_exp.pipeline.combination import Combination
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Arrays, Store
from transfer_exp.types import Dataset, Ints, UserError, counted, dense

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A model on the device, and the key it is stored under."""

    model: Model
    key: str


def torch_device(name: str) -> torch.device:
    """The device called cpu, cuda or auto (cuda where there is one); UserError for another, or cuda without one."""
    if name not in ("cpu", "cuda", "auto"):
        raise UserError(f"device: expected cpu, cuda or auto, got {name}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("device: expected a CUDA device for device=cuda, got none on this machine; use device=cpu or auto")
    return torch.device("cpu" if name == "cpu" or not available else "cuda")


def fitted(
    store: Store,
    learner: Learner,
    dataset: Dataset,
    rows: Ints,
    seed: int,
    stream: seeds.Stream,
    device: torch.device,
) -> Fitted:
    """The learner trained on the given rows, from the store when it was trained before; float64 on CPU, float32 on GPU."""
    number = seeds.integer(seed, stream)
    code = code_version("learners", "seeds.py", "types.py", "pipeline/pieces.py")
    key = signature(learner=learner, data=dataset.checksum, rows=checksum(rows), seed=number, code=code)

    def train() -> Arrays:
        _log.info("training %s on %d points", learner.name, len(rows))
        return learner.fit(dataset.x[rows], dataset.y[rows], seed=number).state()

    model = learner.restore(store.get("learner", key, train)).to(device)
    return Fitted(model.float() if device.type == "cuda" else model, key)


def crafted_key(combination: Combination, attacked: Fitted, rows: Ints) -> str:
    """What the combination's attack points of these rows, made on a model, are stored under."""
    dataset = combination.dataset
    return signature(
        model=attacked.key,
        attack=combination.attack,
        data=dataset.checksum,
        box=dataset.box,
        rows=checksum(rows),
        grid=combination.epsilon.grid,
        device=next(attacked.model.buffers()).device.type,
        code=code_version("data/binary.py", "learners", "attacks", "optim", "measures", "types.py", "pipeline/pieces.py"),
    )


def crafted(store: Store, combination: Combination, attacked: Fitted, rows: Ints) -> Crafted:
    """Attack points of the given rows made on a model, from the store when they were made before."""
    dataset, attack, grid = combination.dataset, combination.attack, combination.epsilon.grid
    assert not isinstance(attack, Poisoning)  # its points are made on data, not on a model: pipeline.poisoning_pieces

    def craft() -> Arrays:
        _log.info("crafting %s on %s", counted(len(rows), "point"), type(attacked.model).__name__)
        x, y = dense(dataset.x[rows]), dataset.y[rows]
        return attack.craft(attacked.model, x, y, epsilons=grid, box=dataset.box).state()

    return Crafted.restore(store.get("crafted", crafted_key(combination, attacked, rows), craft))
