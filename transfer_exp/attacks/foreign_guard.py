"""What a library leaves behind is undone: global random generators, modes of torch, and what it prints."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator

import numpy as np
import torch

from transfer_exp.seeds import seeded_torch


@contextlib.contextmanager
def guarded(seed: int, device: torch.device) -> Iterator[None]:
    """A block in which the global generators of Python, numpy and torch begin at ``seed``; afterwards all is as before.

    None outside the block moves.
    """
    of_numpy, of_python, precision = np.random.get_state(), random.getstate(), torch.get_default_dtype()  # noqa: NPY002
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda), seeded_torch(seed), torch.enable_grad(), contextlib.redirect_stdout(io.StringIO()):
        np.random.set_state(np.random.RandomState(seed).get_state())  # noqa: NPY002  (what libraries draw from)
        random.setstate(random.Random(seed).getstate())  # noqa: S311  (no secret)
        try:
            yield
        finally:
            np.random.set_state(of_numpy)  # noqa: NPY002
            random.setstate(of_python)
            torch.set_default_dtype(precision)
