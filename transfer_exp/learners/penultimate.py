"""Penultimate features of a network: what its last linear layer reads.

The layer is found while points go through: the last call of ``torch.nn.functional.linear``, which ``torch.nn.Linear`` makes,
too. A module whose features are something else names the submodule that gives them in an attribute ``penultimate``, a text:

    class Net(torch.nn.Module):
        penultimate = "features"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from transfer_exp.learners.model import Model
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.types import Floats, Matrix, UserError, dense


class _Reading(TorchFunctionMode):
    """While it is entered: keeps the input of the last linear layer in ``seen``."""

    seen: Tensor | None = None

    def __torch_function__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        del types
        given = kwargs or {}
        if func is torch.nn.functional.linear:
            self.seen = args[0] if args else given["input"]
        return func(*args, **given)


@torch.no_grad()
def penultimate_features(model: Model, x: Matrix) -> Floats | None:
    """Features ``(n, f)`` of points ``(n, d)``, float64; None for what is no network, or has no linear layer.

    Raises UserError where a module names a submodule that it has not.
    """
    if not isinstance(model, NetworkModel):
        return None
    parts = []
    for i in range(0, x.shape[0], model.batch_size):
        points = torch.tensor(dense(x[i : i + model.batch_size])).to(model.like)
        seen = _seen(model, points)
        if seen is None or len(seen) != len(points):
            return None
        parts.append(seen.double().flatten(1).cpu())
    return np.asarray(torch.cat(parts).numpy())


def _seen(model: NetworkModel, points: Tensor) -> Tensor | None:
    named = next((one for one in model.network.modules() if isinstance(getattr(one, "penultimate", None), str)), None)
    if named is None:
        with _Reading() as reading:
            model(points)
        seen: Tensor | None = reading.seen
        return seen
    kept: list[Tensor] = []
    try:
        layer = named.get_submodule(named.penultimate)  # type: ignore[arg-type]
    except AttributeError as error:
        raise UserError(
            f"{model.label}.penultimate: expected the name of a submodule of {type(named).__name__}, got {named.penultimate}"
        ) from error
    handle = layer.register_forward_hook(lambda _module, _input, output: kept.append(output))
    try:
        model(points)
    finally:
        handle.remove()
    return kept[-1] if kept else None
