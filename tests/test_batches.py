from __future__ import annotations

import numpy as np
import pytest
import torch

from transfer_exp.optim.batches import in_batches, rows_of


def test_every_row_once_and_in_order() -> None:
    assert in_batches(lambda rows: rows, 10, size=4) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert in_batches(lambda rows: rows, 0, size=4) == []


def test_where_memory_runs_out_batches_are_halved_and_no_row_is_lost() -> None:
    sizes = []

    def work(rows: slice) -> np.ndarray:
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 60 or (rows.start >= 200 and sizes[-1] > 20):  # another user comes in the middle
            raise torch.cuda.OutOfMemoryError
        return np.arange(rows.start, rows.stop)

    assert np.concatenate(in_batches(work, 300, size=200)).tolist() == list(range(300))
    assert sizes == [200, 100, 50, 50, 50, 50, 50, 25, *([13] * 7), 9]


def test_memory_too_small_for_a_row_is_said() -> None:
    def work(rows: slice) -> None:
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_batches(work, 3, size=2)


def test_rows_are_copied_only_where_some_are_left_out() -> None:
    batch = torch.arange(6.0).reshape(3, 2)
    assert rows_of(batch, torch.arange(3)) is batch
    assert rows_of(batch, torch.tensor([0, 2])).tolist() == [[0, 1], [4, 5]]
