"""What must not change while the code of others runs: global generators and settings, arrays handed over, models."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from transfer_exp.checks.base import Answer
from transfer_exp.learners import Model
from transfer_exp.signature import checksum


class Watch:
    """What has changed between two looks at named states."""

    def __init__(self) -> None:
        self.changed: list[str] = []

    def answer(self) -> Answer:
        """Nothing has, or what."""
        return not self.changed, f"changed: {', '.join(self.changed)}" if self.changed else "unchanged"


@contextmanager
def watched_globals() -> Iterator[Watch]:
    """Tells afterwards which global generators and settings are not as they were; puts the generators back.

    They begin at a place of their own: one that was seeded before would be where a second seeding brings it.
    """
    numpy_state, torch_state, python_state = np.random.get_state(), torch.random.get_rng_state(), random.getstate()  # noqa: NPY002
    np.random.random(), torch.rand(1), random.random()  # noqa: NPY002, S311
    watch, before = Watch(), _globals()
    yield watch
    watch.changed = [name for name, value in _globals().items() if value != before[name]]
    torch.random.set_rng_state(torch_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    random.setstate(python_state)


def _globals() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    return {
        "torch's generator": torch.random.get_rng_state().numpy().tobytes(),
        "numpy's generator": (numpy_state[1].tobytes(), *numpy_state[2:]),
        "Python's generator": random.getstate(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "numpy's error handling": tuple(np.geterr().items()),
    }


@contextmanager
def watched_arrays(**arrays: Any) -> Iterator[Watch]:
    """Tells afterwards which of the arrays, dense or CSR, were edited."""
    watch, before = Watch(), {name: checksum(array) for name, array in arrays.items()}
    yield watch
    watch.changed = [name for name, array in arrays.items() if checksum(array) != before[name]]


@contextmanager
def watched_model(model: Model) -> Iterator[Watch]:
    """Tells afterwards what of a model is not as it was: arrays, gradients left in parameters, training mode."""
    watch, before = Watch(), _contents(model)
    yield watch
    after = _contents(model)
    watch.changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _contents(model: Model) -> dict[str, Any]:
    arrays = [*model.named_buffers(), *model.named_parameters()]
    found: dict[str, Any] = {name: checksum(one.detach().cpu().numpy()) for name, one in arrays}
    found |= {f"gradient of {name}": one.grad is not None for name, one in model.named_parameters()}
    return found | {"training mode": [one.training for one in model.modules()]}
