"""What a fitted learner is: a ``torch.nn.Module`` that maps points ``(n, d)`` to logits ``(n, K)`` of the classes 0..K-1.

All of a model's state is named arrays, so a model is stored and restored without running any code from the file. Where the
learner scales the features, the scaling is a part of the model: points, gradients and attacks are in raw units.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from transfer_exp.margin import binary_logits
from transfer_exp.types import Floats, Matrix, UserError, dense

Precision: TypeAlias = Literal["double", "single"]
Gives: TypeAlias = Literal["logits", "labels"]


class Model(torch.nn.Module):
    """A fitted learner: named arrays and differentiable logits. A subclass implements ``outputs`` and ``n_classes``.

    loss_name: the learner's own loss (see ``losses``), None where it has none. differentiable: False for a model without
    useful input gradients. linear: True where the gradient of every logit is the same everywhere. precision: double for
    what is computed in float64 on the CPU, single for networks, which stay in float32. gives: labels where only the decision
    is known: its logits are 1 and 0, and losses of them mean nothing. batch_size: most points shown to it at once, which
    bounds memory and changes no result.
    """

    loss_name: str | None = None
    differentiable: bool = True
    linear: bool = False
    precision: Precision = "double"
    gives: Gives = "logits"
    batch_size: int = 2000

    def __init__(self, **arrays: Any) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, array if isinstance(array, Tensor) else torch.tensor(array))
        self.eval()

    @property
    def n_classes(self) -> int:
        """K."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)`` of points ``(n, d)`` in raw units."""
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        outputs = self.outputs(x if shift is None or factor is None else (x - shift) * factor)
        return binary_logits(outputs) if outputs.ndim == 1 else outputs

    def outputs(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)``, or for two classes the score z_1 - z_0 ``(n,)``, of points ``(n, d)`` scaled by the learner."""
        raise NotImplementedError

    @property
    def converged(self) -> bool:
        """False where the solver gave up before it reached its tolerance."""
        return "unconverged" not in self._buffers

    @property
    def like(self) -> Tensor:
        """One of its arrays of real numbers: tells device and precision."""
        return next(array for array in chain(self.buffers(), self.parameters()) if array.is_floating_point())

    def state(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The arrays that, given to ``Learner.restore``, make this model again; None for a model that cannot be stored."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """Centres ``(m, d)``, in raw units, of the bumps that the logits are sums of, and the class ``(m,)`` of each.

        None where the logits are no such sums.
        """
        found = self._landmarks(n_features)
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        if found is None or shift is None or factor is None:
            return found
        centres, classes = found
        return centres / factor + shift, classes

    def _landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """The same, with centres as scaled by the learner."""
        return None

    def check(self, x: Matrix) -> None:
        """Raise UserError where the answers on a few points ``(n, d)`` show that the model cannot be relied on.

        Nothing is looked at here: models of the package are known. Those that hold code of others look.
        """

    @torch.no_grad()
    def logits(self, x: Matrix) -> Floats:
        """Logits ``(n, K)`` of dense or CSR points ``(n, d)``, float64, computed in batches on the model's device."""
        like = self.like
        parts = [
            self(torch.as_tensor(dense(x[i : i + self.batch_size])).to(like.device, like.dtype)).cpu()
            for i in range(0, x.shape[0], self.batch_size)
        ]
        return np.asarray(torch.cat(parts).to(torch.float64).numpy())


def check_steady(logits: Callable[[Matrix], Floats], x: Matrix, label: str) -> None:
    """Raise UserError, naming ``label``, where logits of points ``(n, d)`` change from call to call, or with their batch."""
    first = logits(x)
    scale = np.abs(first).max() + 1
    if np.abs(logits(x) - first).max() > 1e-3 * scale:
        raise UserError(
            f"{label}: expected the same logits for the same points, got others the second time; leave out what is "
            "drawn at random (dropout with training=True, say)"
        )
    alone = np.concatenate([logits(x[k : k + 1]) for k in range(len(first))])
    if np.abs(alone - first).max() > 1e-3 * scale:
        raise UserError(
            f"{label}: expected logits that do not depend on the other points of a batch, got others for a point "
            "alone; leave out statistics of the batch"
        )
