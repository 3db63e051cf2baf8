"""The bundled digits are scikit-learn's, however they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from transfer_exp.data import digits
from transfer_exp.types import Sizes


@pytest.mark.parametrize("found", [True, False])
def test_they_are_those_of_scikit_learn(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not found:
        monkeypatch.setattr(Path, "is_file", lambda _file: False)
    images, labels = load_digits(return_X_y=True)
    chosen = np.isin(labels, [8, 9])
    dataset = digits.load_digits(name="digits89", classes=[8, 9], split=Sizes(test=60))
    np.testing.assert_array_equal(dataset.x, images[chosen] / 16)
    np.testing.assert_array_equal(dataset.y, np.where(labels[chosen] == 9, 1, 0))
    whole = digits.load_digits(name="digits", split=Sizes(test=60))
    np.testing.assert_array_equal(whole.x, images / 16)
    np.testing.assert_array_equal(whole.y, labels)
    assert (whole.class_names, whole.shape, dataset.class_names) == (tuple("0123456789"), (8, 8), ("8", "9"))


def test_their_file_is_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda **_options: pytest.fail("scikit-learn was asked"))
    images, labels = digits._bundled()
    assert images.shape == (1797, 64)
    assert labels.tolist()[:10] == list(range(10))
