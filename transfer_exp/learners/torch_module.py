"""A torch module of the user's, trained here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from transfer_exp.learners.network import ShapedNetworkLearner, called_with
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.types import Ints, Matrix, UserError, reason

_N_COMPARED = 100  # training points on which a trained network and the one restored from its state are compared


@dataclass(frozen=True, kw_only=True)
class TorchModule(ShapedNetworkLearner):
    """``module``: a class or a function that makes a new module, its options bound (``functools.partial``).

    It is called with ``n_classes``, ``n_features``, ``shape`` (channels first) as far as it takes arguments of these names.
    """

    module: Callable[..., Any]
    family = "network"

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> NetworkModel:
        """As any network. Raises UserError where the module keeps what its parameters and buffers do not hold."""
        model = super()._fit(x, y, n_classes=n_classes, seed=seed)
        model.check(x[:3])
        trained, restored = (one.logits(x[:_N_COMPARED]) for one in (model, self.restore(model.state() or {})))
        if np.abs(trained - restored).max() > 1e-3 * (np.abs(trained).max() + 1):
            raise UserError(
                f"{self.label}: expected a module whose parameters and buffers are all that it keeps, got other logits from "
                "one made of them; register what it draws by register_buffer"
            )
        return model

    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        return made_module(self.module, self.label, n_classes=n_classes, n_features=n_features, shape=self.shape)


def made_module(make: Callable[..., Any], label: str, **known: Any) -> torch.nn.Module:
    """A new module of ``make``. Raises UserError, naming ``label``, where it cannot be made, or is none."""
    try:
        network = called_with(make, **known)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{label}.module: expected a torch.nn.Module, got {type(error).__name__}: {reason(error)}"
        ) from error
    if not isinstance(network, torch.nn.Module):
        raise UserError(f"{label}.module: expected a torch.nn.Module, got {type(network).__name__}")
    return network
