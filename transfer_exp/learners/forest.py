"""Random forest, for targets only: it has no input gradient.

With P_k the trees' mean share of class k, the logits are P, and for two classes the score is 2 P_1 - 1. The trees are kept
as flat arrays, all trees behind one another, and points descend all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.base import Learner, require_positive
from transfer_exp.learners.model import Model
from transfer_exp.types import Ints, Matrix


class ForestModel(Model):
    """Trees as arrays over all nodes: left and right child (a leaf is its own child), feature, threshold, class shares.

    ``share``: of class 1 ``(nodes,)`` for two classes, else of all classes ``(nodes, K)``.
    """

    differentiable = False
    left: Tensor
    right: Tensor
    feature: Tensor
    threshold: Tensor
    share: Tensor
    root: Tensor
    depth: Tensor

    @property
    def n_classes(self) -> int:
        """K."""
        return 2 if self.share.ndim == 1 else self.share.shape[1]

    def outputs(self, x: Tensor) -> Tensor:
        """Score ``(n,)`` or logits ``(n, K)`` of points ``(n, d)``; thresholds are compared in float32, as when fitted."""
        n, d = x.shape
        values, children = x.float().reshape(-1), torch.stack([self.right, self.left], 1).reshape(-1)
        node = self.root.repeat(n)  # of every point and tree
        first = (torch.arange(n, device=x.device) * d).repeat_interleave(len(self.root))
        for _ in range(int(self.depth)):
            feature, threshold = (table.index_select(0, node) for table in (self.feature, self.threshold))
            goes_left = values.index_select(0, first + feature) <= threshold
            node = children.index_select(0, 2 * node + goes_left)
        share = self.share.index_select(0, node).reshape(n, len(self.root), *self.share.shape[1:]).mean(1)
        return 2 * share - 1 if self.n_classes == 2 else share


@dataclass(frozen=True, kw_only=True)
class Forest(Learner):
    """Random forest with ``n_trees`` trees; ``max_depth`` None grows them fully."""

    n_trees: int = 30
    max_depth: int | None = None
    family = "forest"
    model_type = ForestModel

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, n_trees=self.n_trees, max_depth=1 if self.max_depth is None else self.max_depth)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Fit; ``seed`` draws the bootstrap samples and the features tried at each node."""
        from sklearn.ensemble import RandomForestClassifier  # here: see ``learners``

        forest = RandomForestClassifier(self.n_trees, max_depth=self.max_depth, random_state=seed).fit(x, y)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        root = np.cumsum([0, *(t.node_count for t in trees[:-1])])
        leaf = np.concatenate([t.children_left < 0 for t in trees])
        own = np.arange(len(leaf))
        children = (
            np.where(leaf, own, np.concatenate([c + r for c, r in zip(side, root, strict=True)]))
            for side in ([t.children_left for t in trees], [t.children_right for t in trees])
        )
        left, right = children
        shares = np.concatenate([t.value[:, 0] / t.value[:, 0].sum(1, keepdims=True) for t in trees])
        return ForestModel(
            left=left,
            right=right,
            feature=np.maximum(np.concatenate([t.feature for t in trees]), 0),
            threshold=np.concatenate([t.threshold for t in trees]),
            share=shares[:, 1] if n_classes == 2 else shares,
            root=root,
            depth=np.int64(max(t.max_depth for t in trees)),
        )
