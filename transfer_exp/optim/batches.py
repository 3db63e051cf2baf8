"""Rows of a batch, and batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def rows_of(batch: Tensor, rows: Tensor) -> Tensor:
    """These rows, in their order in ``batch``; not copied where they are all. Indexing would take three times as long."""
    return batch if len(rows) == len(batch) else batch.index_select(0, rows)


def in_batches(work: Callable[[slice], T], n: int, *, size: int) -> list[T]:
    """What ``work`` makes of rows 0 to n, ``size`` at a time.

    Where the memory of a GPU runs out, half as many from there on: other surrogates may be in flight on it. Raises
    torch.cuda.OutOfMemoryError where not even one row fits.
    """
    made: list[T] = []
    begin = 0
    while begin < n:
        end = min(begin + size, n)
        try:
            made.append(work(slice(begin, end)))
        except torch.cuda.OutOfMemoryError:
            if size == 1:
                raise
            size = (size + 1) // 2
            torch.cuda.empty_cache()  # what this process keeps, another may need
        else:
            begin = end
    return made
