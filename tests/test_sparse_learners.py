"""Every learner fits and scores CSR points as it does dense ones."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.learners import MLP, RBFSVM, Forest, Learner, LinearSVM, Logistic, Ridge
from transfer_exp.types import Dataset, Sizes, dense


@pytest.fixture(scope="module")
def data() -> Dataset:
    sizes = Sizes(target=10, surrogate=10, test=10)
    return load_synthetic(name="s", split=sizes, n_points=500, n_columns=300, malware_share=0.3)


@pytest.mark.parametrize("n_classes", [2, 3])
# Dense and sparse code paths stop at different points of the same tolerance: it is made tight, or the bound is its size.
@pytest.mark.parametrize(
    ("learner", "tolerance"),
    [
        (LinearSVM(C=1, tolerance=1e-7), 1e-5),
        (RBFSVM(C=10, gamma=0.01, tolerance=1e-7), 1e-5),
        (Logistic(C=1, tolerance=1e-9), 1e-4),
        (Ridge(alpha=1), 1e-6),
        (MLP(hidden=(20, 20), n_epochs=20), 1e-5),
        (Forest(n_trees=10), 1e-12),
        (Forest(n_trees=10, max_depth=4), 1e-12),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Learner) else None,
)
def test_sparse_and_dense_points_give_the_same_scores(
    data: Dataset, learner: Learner, tolerance: float, n_classes: int
) -> None:
    x, malware = data.x[:300], data.y[:300] > 0
    y = malware.astype(np.int64) if n_classes == 2 else np.where(malware, np.diff(x.indptr) % 2, 2)
    from_sparse, from_dense = (learner.fit(points, y, n_classes=n_classes, seed=0) for points in (x, dense(x)))
    logits = from_sparse.logits(data.x)
    largest = max(1.0, float(np.abs(logits).max()))
    np.testing.assert_allclose(logits, from_dense.logits(data.x), atol=tolerance * largest)
    np.testing.assert_allclose(logits, from_sparse.logits(dense(data.x)), atol=1e-12)
    assert (logits.argmax(1)[:300] == y).mean() > {2: 0.9, 3: 0.5}[n_classes]
