"""Named random streams: every stream of a repetition is a child of its one seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch

Stream: TypeAlias = Literal[
    "split",
    "surrogate_training",
    "target_training",
    "test_sample",
    "attack_start",
    "bootstrap",
    "training_sets",
    "noise",
    "measures",
    "attack_labels",
    "defence_ties",
]
_STREAMS: tuple[str, ...] = get_args(Stream)


def sequence(seed: int, stream: Stream) -> np.random.SeedSequence:
    """The child of ``seed`` named ``stream``; its place among the names is fixed, so new names go last."""
    return np.random.SeedSequence(seed, spawn_key=(_STREAMS.index(stream),))


def generator(seed: int, stream: Stream) -> np.random.Generator:
    """A numpy generator on the named stream."""
    return np.random.default_rng(sequence(seed, stream))


def integer(seed: int, stream: Stream) -> int:
    """A 32-bit seed on the named stream, for libraries that take an integer."""
    return int(sequence(seed, stream).generate_state(1)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of Python, numpy and torch, which code of others draws from, begin at ``seed`` here.

    Afterwards they are as they were.
    """
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        np.random.set_state(np.random.RandomState(seed).get_state())  # noqa: NPY002
        random.setstate(random.Random(seed).getstate())  # noqa: S311  (no secret)
        try:
            yield
        finally:
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)
