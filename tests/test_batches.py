from __future__ import annotations

import numpy as np
import pytest
import torch

from transfer_exp.learners import MLP, Model
from transfer_exp.learners.linear import LinearModel
from transfer_exp.learners.mlp import Perceptron
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


BATCH = Model.batch_size


@pytest.mark.parametrize("n", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_every_point_has_its_logits_also_in_a_short_last_batch(n: int) -> None:
    x = np.arange(2.0 * n).reshape(n, 2)
    logits = LinearModel(weight=np.array([1.0, -0.5]), bias=np.float64(3)).logits(x)
    assert np.array_equal(logits[:, 1] - logits[:, 0], x[:, 0] - x[:, 1] / 2 + 3)  # exact: halves of whole numbers


def test_every_epoch_of_an_mlp_sees_every_row_once_in_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """53 rows, each its own number: the chance that a shuffled epoch is in order, or repeats another, is 1 in 53!."""
    seen, forward = [], Perceptron.forward

    def noted(network: Perceptron, x: torch.Tensor) -> torch.Tensor:
        seen.append(x[:, 0].tolist())
        return forward(network, x)

    monkeypatch.setattr(Perceptron, "forward", noted)
    numbers = np.arange(53.0)
    MLP(hidden=(2,), n_epochs=3, batch_size=10).fit(numbers[:, None], (numbers < 20).astype(np.int64), n_classes=2, seed=0)
    assert [len(batch) for batch in seen] == 3 * [10, 10, 10, 10, 10, 3]
    epochs = [np.concatenate(seen[6 * k : 6 * k + 6]).tolist() for k in range(3)]
    assert [sorted(epoch) for epoch in epochs] == 3 * [numbers.tolist()]
    assert len({tuple(epoch) for epoch in [*epochs, numbers.tolist()]}) == 4
