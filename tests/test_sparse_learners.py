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
def test_sparse_and_dense_points_give_the_same_scores(data: Dataset, learner: Learner, tolerance: float) -> None:
    x, y = data.x[:300], data.y[:300]
    from_sparse, from_dense = learner.fit(x, y, seed=0), learner.fit(dense(x), y, seed=0)
    scores = from_sparse.scores(data.x)
    np.testing.assert_allclose(scores, from_dense.scores(data.x), atol=tolerance * max(1.0, float(np.abs(scores).max())))
    np.testing.assert_allclose(scores, from_sparse.scores(dense(data.x)), atol=1e-12)
    assert ((scores > 0) == (data.y > 0))[:300].mean() > 0.9
