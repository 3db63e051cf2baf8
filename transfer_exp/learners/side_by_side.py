"""Networks of one shape as one, whose parameters and buffers have them as first axis: trained at once on a GPU.

    vmap over the networks k:   outputs of network k, its parameters and buffers those of row k, for its points

Convolutions of k networks become grouped ones, linear layers batched products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from transfer_exp.learners.scaling import Scaling
from transfer_exp.learners.training_loop import Examples

Outputs: TypeAlias = Callable[[torch.nn.Module, Tensor], Tensor]
"""Of a network, or of several as one, for points: ``(n[, K])`` of ``(n, d)``, or ``(k, n[, K])`` of ``(k, n, d)``."""


@dataclass(frozen=True)
class Begun:
    """A training that begins."""

    network: torch.nn.Module
    examples: Examples
    scaling: Scaling | None

    @property
    def n_bytes(self) -> int:
        """Of its points."""
        return 4 * int(np.prod(self.examples.x.shape))


def called(network: torch.nn.Module, x: Tensor) -> Tensor:
    """What a module gives that takes points of all networks."""
    found: Tensor = network(x)
    return found


def stacked(networks: Sequence[torch.nn.Module], shape: tuple[int, ...] | None) -> tuple[torch.nn.Module, Outputs]:
    """The networks as one, and its outputs. shape: of one point as they take it; None: flat."""
    both: torch.nn.Module = deepcopy(networks[0])
    states = [one.state_dict() for one in networks]
    for name, value in [*both.named_parameters(), *both.named_buffers()]:
        value.data = torch.stack([state[name] for state in states])
    return both, partial(_each, shape=shape)


def _each(network: torch.nn.Module, x: Tensor, *, shape: tuple[int, ...] | None) -> Tensor:
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}

    def outputs(own: dict[str, Tensor], points: Tensor) -> Tensor:
        taken = points if shape is None else points.reshape(len(points), *shape)
        found: Tensor = functional_call(network, own, (taken,))
        return found.squeeze(-1) if found.shape[-1] == 1 else found

    every: Tensor = vmap(outputs)(state, x)
    return every
