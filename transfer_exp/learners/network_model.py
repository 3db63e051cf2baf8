"""A ``torch.nn.Module``, of ours or of the user's, as a model: in eval mode, its weights fixed, its answers checked."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.model import Model, Precision, check_steady
from transfer_exp.types import Floats, Matrix, UserError, counted, dense, reason

STATE, EPOCH = "network.", "epoch_"


class NetworkModel(Model):
    """A trained module. shape: of one point as the module takes it, None for flat points. label: its name in errors.

    Arrays of its state begin with ``network.``, the others are ``Model``'s. The module is never in training mode.
    epochs: the module's arrays after each epoch, where the model is a checkpoint of a training: the state has these.
    """

    loss_name = "cross_entropy"
    precision: Precision = "single"
    class_count: Tensor

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        n_classes: int,
        label: str,
        shape: tuple[int, ...] | None,
        precision: Precision,
        batch_size: int,
        **arrays: Any,
    ) -> None:
        super().__init__(class_count=np.int64(n_classes), **arrays)
        self.network, self.label, self.shape = network, label, shape
        self.precision, self.batch_size = precision, batch_size
        self.epochs: list[dict[str, np.ndarray[Any, Any]]] = []
        self.requires_grad_(False)
        _ = self.double() if precision == "double" else self.float()
        self.eval()

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.class_count)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        del mode
        return super().train(False)

    def outputs(self, x: Tensor) -> Tensor:
        """Score ``(n,)`` or logits ``(n, K)`` of points ``(n, d)``. Raises UserError where the module gives no such."""
        return outputs_of(self.network, x, n_classes=self.n_classes, label=self.label, shape=self.shape)

    def logits(self, x: Matrix) -> Floats:
        """As of any model; raises UserError on logits that are not finite."""
        found = super().logits(x)
        wrong = int((~np.isfinite(found)).any(axis=1).sum())
        if wrong:
            raise UserError(
                f"{self.label}: expected finite logits, got others for {wrong} of {counted(len(found), 'point')}; check "
                "weights and preprocessing"
            )
        return found

    def state(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """As of any model; of a checkpoint the module's arrays of every epoch, ``epoch_1.network.weight``, say."""
        found = super().state()
        if not self.epochs or found is None:
            return found
        every = {f"{EPOCH}{k}.{STATE}{name}": array for k, one in enumerate(self.epochs, 1) for name, array in one.items()}
        return {name: array for name, array in found.items() if not name.startswith(STATE)} | every

    def check(self, x: Matrix) -> None:
        """Raise UserError where logits of a few points ``(n, d)`` change from call to call, or have no gradients in them."""
        check_steady(self.logits, x, self.label)
        points = torch.as_tensor(dense(x)).to(self.like).requires_grad_()
        logits = self(points)
        slope = torch.autograd.grad(logits.sum(), points, allow_unused=True)[0] if logits.requires_grad else None
        if slope is None or not bool(torch.isfinite(slope).all()):
            raise UserError(
                f"{self.label}: expected logits with finite gradients in the points, got none; leave out no_grad and detach"
            )


def outputs_of(network: torch.nn.Module, x: Tensor, *, n_classes: int, label: str, shape: tuple[int, ...] | None) -> Tensor:
    """Score ``(n,)`` or logits ``(n, K)`` of flat points ``(n, d)``. Raises UserError where the module gives no such."""
    points = x if shape is None else x.reshape(len(x), *shape)
    version = points._version
    try:
        found: Any = network(points)
    except (UserError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(
            f"{label}: expected logits of points of shape {tuple(points.shape)}, got {type(error).__name__}: {reason(error)}"
        ) from error
    if points._version != version:
        raise UserError(
            f"{label}: expected a module that leaves its input alone, got one that edits it in place; copy it first"
        )
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise UserError(f"{label}: expected a tensor of real numbers, got {_kind(found)}")
    if n_classes == 2 and found.shape in ((len(x),), (len(x), 1)):
        return found.reshape(len(x))
    if found.shape != (len(x), n_classes):
        raise UserError(
            f"{label}: expected logits of shape ({len(x)}, {n_classes}), one for each of {n_classes} classes, got "
            f"{tuple(found.shape)}"
        )
    return found


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
