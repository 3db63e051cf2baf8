"""A world with an audit's answers known: classes lie apart twice, in the first and in the second half of the features.

A model that looks at one half only is reached by attacks on models of that half, and by no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mlflow.entities import Run

from transfer_exp import track
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.strengths import Shares
from transfer_exp.learners import Learner, Model
from transfer_exp.report.audit_points import Points, load_points
from transfer_exp.report.records import load
from transfer_exp.report.study import Study
from transfer_exp.scenarios import Combination
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Sizes

D = 20
SHARES = Shares(shares=(0, 0.1, 0.3, 0.6), reference_share=0.6, shown_shares=(0.6,))


class HalfModel(Model):
    """Logits of a linear score, whose weights are zero outside one half."""

    @property
    def n_classes(self):
        return 2

    def outputs(self, x):
        score = x @ self.weights + self.bias
        return torch.stack([-score / 2, score / 2], dim=-1)


@dataclass(frozen=True, kw_only=True)
class Half(Learner):
    """The line between the class means, in the first or the second half of the features."""

    part: int = 0
    family = "half"
    model_type = HalfModel

    def _fit(self, x, y, *, n_classes, seed):
        del n_classes, seed
        means = [x[y == k].mean(0) for k in (0, 1)]
        weights = np.where(np.arange(D) // (D // 2) == self.part, means[1] - means[0], 0.0)
        return HalfModel(weights=weights, bias=np.array(-weights @ (means[0] + means[1]) / 2))


def dataset() -> Dataset:
    random = np.random.default_rng(0)
    y = np.arange(240) % 2
    x = np.where(y[:, None] == 1, 1.0, -1.0) * 0.8 + random.normal(size=(240, D))
    sizes = Sizes(target=60, surrogate=60, test=60)
    nobody = np.zeros(240, dtype=bool)
    box = Box.uniform(D, -50, 50)
    about = {"name": "halves", "checksum": signature(x=x, y=y), "class_names": ("left", "right")}
    return Dataset(x=x, y=y, box=box, sizes=sizes, test_pool=nobody, **about)


def audited(root: Path, targets, surrogates, *, seeds=(0, 1, 2), shares=(1.0,)) -> tuple[Study, Points]:
    """The study of all pairs, recorded and read back, and its points."""
    for target in targets:
        for surrogate in surrogates:
            for seed in seeds:
                for share in shares:
                    made = Combination(
                        dataset=dataset(), surrogate=surrogate, target=target, attack=Evasion(n_iter=10), epsilon=SHARES,
                        seed=seed, surrogate_fraction=share, n_variability=2,
                    )  # fmt: skip
                    track(made, study="audit", root=root)
    uri = f"sqlite:///{root / 'mlflow.db'}"
    study = load(tracking_uri=uri, study="audit")
    return study, load_points(tracking_uri=uri, study=study)


def fake_run(tags) -> Run:
    """Just the tags of a run."""

    class Data:
        def __init__(self) -> None:
            self.tags = tags

    class Fake:
        data = Data()

    return Fake()
