"""What a library leaves behind is undone: global random generators, modes of torch, and what it prints."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import torch

from transfer_exp.seeds import seeded


@contextlib.contextmanager
def guarded(seed: int) -> Iterator[None]:
    """A block in which the global generators begin at ``seed``; afterwards they, and torch's modes, are as before."""
    precision = torch.get_default_dtype()
    with seeded(seed), torch.enable_grad(), contextlib.redirect_stdout(io.StringIO()):
        try:
            yield
        finally:
            torch.set_default_dtype(precision)
