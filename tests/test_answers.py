"""What a classifier answers becomes logits with its decisions and its cross-entropy, or is refused in one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from transfer_exp.learners.answers import Answers, deciding
from transfer_exp.margin import predict
from transfer_exp.measures.losses import losses
from transfer_exp.types import Floats, UserError


def logits(answer: Any, gives: str, n_classes: int = 3, n: int = 2, **options: Any) -> Floats:
    return Answers(who="it", gives=gives, n_classes=n_classes, **options).logits(answer, n)  # type: ignore[arg-type]


def test_labels_are_one_hot_whatever_they_are_called() -> None:
    expected = [[0, 0, 1], [1, 0, 0]]
    for answer, options in (
        ([2, 0], {}),
        (np.array([[2], [0]], dtype=np.uint8), {}),
        (torch.tensor([2, 0]), {}),
        (["owl", "cat"], {"names": ("cat", "dog", "owl")}),
        (np.array(["owl", "cat"], dtype=object), {"names": ("cat", "dog", "owl")}),
        ([7, 4], {"classes": (4, 5, 7)}),
        (["7", "4"], {"classes": (4, 5, 7), "names": ("cat", "dog", "owl")}),
    ):
        assert logits(answer, "labels", **options).tolist() == expected, (answer, options)
    assert logits([True, False], "labels", n_classes=2).tolist() == [[0, 1], [1, 0]]


def test_numbers_are_indices_and_not_names() -> None:
    """Of the digits 8 and 9, a label 1 is the second class; 9 has to be said to be one."""
    assert logits([1, 0], "labels", n_classes=2, names=("8", "9")).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(UserError, match="it: expected labels among 0, 1, got 9; set classes to what it calls them"):
        logits([1, 9], "labels", n_classes=2, names=("8", "9"))


def test_the_cross_entropy_of_probabilities_is_minus_their_logarithm() -> None:
    p = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]])
    z = logits(p, "probabilities")
    for label, expected in ((0, [math.log(5), -math.log(0.9)]), (1, [math.log(2), math.log(10)])):
        assert losses(z, np.array([label, label]), "cross_entropy") == pytest.approx(expected, rel=1e-14)
    assert losses(z, np.array([2, 2]), "cross_entropy")[1] == pytest.approx(52 * math.log(2))  # 2^-52 stands for 0
    of_class_1 = logits(np.array([0.25, 1.0]), "probabilities", n_classes=2)
    assert losses(of_class_1, np.array([1, 0]), "cross_entropy") == pytest.approx([math.log(4), 52 * math.log(2)])
    assert logits(p.astype(np.float16), "probabilities").dtype == np.float64


def test_scores_are_the_logits_and_one_score_is_a_pair() -> None:
    z = np.array([[1.0, -2.0, 0.0], [3.0, 3.0, 1.0]])
    assert np.array_equal(logits(z, "scores"), z)
    for answer in (np.array([3.0, -1.0]), np.array([[3.0], [-1.0]]), torch.tensor([3.0, -1.0], requires_grad=True)):
        assert logits(answer, "scores", n_classes=2).tolist() == [[-1.5, 1.5], [0.5, -0.5]]


def test_answers_are_copied() -> None:
    memory = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    found = logits(memory, "scores")
    memory[:] = 0
    assert found[1, 2] == 6


def test_a_decision_survives_the_logarithm() -> None:
    """Neighbouring probabilities may have one logarithm; the decision is that of the probabilities."""
    low = np.linspace(0.3, 0.36, 2001)
    high = np.nextafter(low, 1)
    same = np.log(low) == np.log(high)
    assert same.any(), "no logarithms are equal here: the test says nothing"
    p = np.stack([low, high, 1 - low - high], axis=1)[same]
    p = p[p[:, 2] < p[:, 0]]
    found = logits(p, "probabilities", n=len(p))
    assert (predict(found) == 1).all()
    assert np.abs(found - np.log(p)).max() < 1e-15


def test_the_class_decided_for_is_raised_by_no_more_than_it_needs() -> None:
    z = np.array([[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [5.0, 1.0, 1.0]])
    decided = np.array([2, 0, 1, 0])
    found = deciding(z, decided)
    assert predict(found).tolist() == decided.tolist()
    assert found[0].tolist() == [0, 2, np.nextafter(2, 3)]
    assert found[2, 1] > 0
    assert found[2, 1] < 1e-300
    assert np.array_equal(found[[1, 3]], z[[1, 3]])  # the lowest of equal ones decides already
    assert z[0, 2] == 1.0


NAN = float("nan")


@pytest.mark.parametrize(
    ("answer", "gives", "n_classes", "message"),
    [
        ([0, 3], "labels", 3, "expected labels among 0, 1, 2, got 3; set classes"),
        ([0, -1], "labels", 3, "got -1"),
        ([0.0, 1.0], "labels", 3, "expected labels as whole numbers or names, got float64; set gives to scores or"),
        (["cat", "cow"], "labels", 3, "expected labels among , got cat"),
        ([0, 1, 2], "labels", 3, r"expected labels of shape \(2,\), got shape \(3,\)"),
        ([[0, 1, 0], [1, 0, 0]], "labels", 3, r"of shape \(2,\), got shape \(2, 3\)"),
        ([0.1, 0.2], "scores", 3, r"expected scores of shape \(2, 3\), got shape \(2,\)"),
        ([[0.1] * 4] * 2, "scores", 2, r"expected scores of shape \(2, 2\) or \(2,\), got shape \(2, 4\)"),
        ([1, 0], "scores", 2, "expected scores as real numbers, got int64; set gives to labels, or give floats"),
        ([[NAN, 1, 1]] * 2, "scores", 3, "expected scores that are finite, got NaN or inf"),
        ([[1, 1, np.inf]] * 2, "probabilities", 3, "expected probabilities that are finite"),
        ([[0.5, 0.5, 0.5]] * 2, "probabilities", 3, "that sum to 1, got a sum of 1.5; set gives to scores"),
        ([[-0.5, 0.5, 1.0]] * 2, "probabilities", 3, "from 0 to 1 that sum to 1, got -0.5; set gives"),
        ([1.5, 0.5], "probabilities", 2, "from 0 to 1"),
        ([[1.0], [0.5, 0.5]], "probabilities", 2, "expected probabilities in one array, got rows of different lengths"),
        ([{0: 0.5, 1: 0.5}] * 2, "probabilities", 2, "expected probabilities as numbers, got list of object"),
        (["a", "b"], "scores", 2, "expected scores as numbers, got list of <U1"),
        (None, "labels", 2, r"got shape \(\)"),
    ],
)
def test_other_answers_are_refused(answer: Any, gives: str, n_classes: int, message: str) -> None:
    with pytest.raises(UserError, match=f"^it: .*{message}"):
        logits(answer, gives, n_classes=n_classes)
