"""What a gap tells of a point, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from transfer_exp.measures.gap_tells import auc, logit_gap_tells, posterior_gap_tells


def test_auc_counts_pairs() -> None:
    values, yes = np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, False, True, False])
    # (3, 1), (3, 2), (2, 1) in order, (2, 2) equal: 3.5 of 4
    assert auc(values, yes) == 3.5 / 4
    assert np.isnan(auc(values, np.ones(4, dtype=bool)))


def test_posteriors_and_logits_can_rank_points_differently() -> None:
    y = np.zeros(4, dtype=np.int64)
    # The answer of the surrogate is 1 for the first three; the gap of logits falls, that of posteriors rises: the third
    # class takes the posterior of the first point. The fourth does not mislead it.
    own = np.array([[[0.0, 5.0, 4.99], [0.0, 4.0, 3.0], [0.0, 3.0, -9.0], [9.0, 0.0, 0.0]]])
    fooled = np.array([[[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [0, 1.0, 0]]])
    clean = np.array([[1.0, 0, 0]] * 4)
    context = SimpleNamespace(
        surrogate_clean=clean, target_clean=clean, surrogate_decisions=own, target_decisions=fooled, y=y
    )  # fmt: skip
    posterior, logit = posterior_gap_tells(), logit_gap_tells()
    assert posterior.compute is not None
    assert logit.compute is not None
    assert posterior.compute(context) == pytest.approx([1.0])
    assert logit.compute(context) == pytest.approx([0.0])
    context.target_clean = np.array(
        [[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [1.0, 0, 0]]
    )  # what was wrong before does not count
    found = posterior.compute(context)
    assert found is not None
    assert np.isnan(found).all()


def test_poisoning_has_none() -> None:
    compute = posterior_gap_tells().compute
    assert compute is not None
    assert compute(SimpleNamespace(surrogate_clean=None)) is None
