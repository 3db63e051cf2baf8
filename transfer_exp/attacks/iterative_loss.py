"""What an iterative transfer attack raises, of one model or of several.

                     any class but y              class t
    cross_entropy    -log p_y                     log p_t
    margin           max_{k != y} z_k - z_y       z_t - max_{k != t} z_k
    logit            -z_y                         z_t                          (Zhao et al., NeurIPS 2021, arXiv 2012.11207)

Of an ensemble: of its own logits, as it combines them (mean logit: Liu et al., ICLR 2017), or the mean of its members'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.learners.ensemble import EnsembleModel
from transfer_exp.margin import margins, smooth_margins

Objective: TypeAlias = Literal["cross_entropy", "margin", "logit"]
Average: TypeAlias = Literal["logits", "losses"]


@dataclass(frozen=True)
class Loss:
    """Of points of classes ``label`` ``(n,)`` that are to reach ``target`` ``(n,)``; None: any other class."""

    objective: Objective
    average: Average
    label: Tensor
    target: Tensor | None

    def __call__(self, model: Model, x: Tensor) -> Tensor:
        """The objective ``(n,)`` at points ``(n, d)``."""
        if self.average == "losses" and isinstance(model, EnsembleModel):
            return torch.stack([self(one, x.to(one.like.dtype)).to(x.dtype) for one in model.models]).mean(0)
        return self.of(model(x))

    def of(self, logits: Tensor) -> Tensor:
        """The objective ``(n,)`` of logits ``(n, K)``."""
        wanted = self.label if self.target is None else self.target
        score = self._score(logits, wanted)
        return -score if self.target is None else score

    def _score(self, logits: Tensor, wanted: Tensor) -> Tensor:
        if self.objective == "margin":
            return margins(logits, wanted)
        if self.objective == "cross_entropy":  # log p, whose gradient keeps its direction where p is 1 but for rounding
            return torch.nn.functional.logsigmoid(smooth_margins(logits, wanted))
        return logits.gather(1, wanted[:, None])[:, 0]
