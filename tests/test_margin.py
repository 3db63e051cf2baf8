"""Margins of logits: by hand, against sorting, at two classes exactly the score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transfer_exp.margin import binary_logits, binary_score, margins, predict, signs, smooth_margins

RANDOM = np.random.default_rng(0)


def test_of_two_classes_both_margins_are_the_signed_score_exactly() -> None:
    score, y = RANDOM.normal(size=1000) * 10.0 ** RANDOM.integers(-9, 9, 1000), RANDOM.integers(0, 2, 1000)
    logits = binary_logits(torch.as_tensor(score)).numpy()
    assert (binary_score(logits) == score).all()
    assert (margins(logits, y) == signs(y) * score).all()
    assert (smooth_margins(logits, y) == signs(y) * score).all()


def test_by_hand() -> None:
    logits = np.array([[1.0, 4, 2], [1, 4, 2], [3, 3, 0]])
    assert margins(logits, np.array([1, 2, 0])).tolist() == [2, -2, 0]
    expected = [4 - np.log(np.e + np.e**2), 2 - np.log(np.e + np.e**4), 3 - np.log(np.e**3 + 1)]
    np.testing.assert_allclose(smooth_margins(logits, np.array([1, 2, 0])), expected)
    assert predict(logits).tolist() == [1, 1, 0]  # of equal logits the lowest class


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_a_positive_margin_means_that_the_class_is_predicted(n_classes: int) -> None:
    logits, y = RANDOM.normal(size=(200, n_classes)), RANDOM.integers(0, n_classes, 200)
    np.testing.assert_array_equal(margins(logits, y) > 0, predict(logits) == y)
    others = np.array([max(z for k, z in enumerate(row) if k != c) for row, c in zip(logits, y, strict=True)])
    np.testing.assert_array_equal(margins(logits, y), logits[np.arange(200), y] - others)


def test_classes_are_broadcast_and_tensors_stay_tensors_with_gradients() -> None:
    logits, y = RANDOM.normal(size=(4, 5, 3)), RANDOM.integers(0, 3, 5)
    np.testing.assert_array_equal(margins(logits, y)[2], margins(logits[2], y))
    z = torch.tensor(logits, requires_grad=True)
    (gradient,) = torch.autograd.grad(margins(z, torch.as_tensor(y)).sum(), z)
    assert (gradient.sum(-1) == 0).all()
    assert ((gradient != 0).sum(-1) == 2).all()


def test_the_smooth_margin_is_finite_where_probabilities_are_not() -> None:
    logits = np.array([[5000.0, -5000, 0], [-5000, 5000, 0]])
    assert smooth_margins(logits, np.array([0, 0])).tolist() == [5000, -10000]
