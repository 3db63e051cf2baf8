"""A torch module of the user's with weights of the user's: nothing is trained, and nothing is known of how it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.base import Learner, require_positive
from transfer_exp.learners.network import image_shape
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.learners.torch_module import made_module
from transfer_exp.seeds import seeded
from transfer_exp.signature import file_checksum
from transfer_exp.types import RECORDED, Dataset, Ints, Matrix, UserError, reason


class Normalised(torch.nn.Module):
    """A module behind its preprocessing: (x - mean) / std, a number for each channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: torch.nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, x: Tensor) -> Any:
        """What the module gives for the normalised points ``(n, channels, ...)``."""
        places = (-1, *[1] * (x.ndim - 2))
        return self.network((x - self.mean.view(places)) / self.std.view(places))


@dataclass(frozen=True, kw_only=True)
class Pretrained(Learner):
    """A module with trained weights, as surrogate or target.

    module: as of ``torch_module.TorchModule``. weights: a ``.safetensors`` file, or a torch checkpoint, of which only plain
    tensors are read. entry: where in the checkpoint the weights are (``state_dict``, ``a.b`` for one within another); None:
    the whole is them. prefix: left out at the beginning of their names. mean, std: of each channel (one number: of all),
    subtracted and divided by before the module sees a point; points are in the units of the data set. shape: from the data
    set.
    """

    module: Callable[..., Any]
    weights: str = field(compare=False)  # the checksum stands for it
    entry: str | None = None
    prefix: str = ""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    points_at_once: int = 250
    checksum: str = field(default="", init=False, metadata={RECORDED: True})
    shape: tuple[int, ...] | None = field(default=None, init=False)
    family = "network"
    model_type = NetworkModel
    given = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        require_positive(self, points_at_once=self.points_at_once, std=min(self.std, default=0))
        if self.scale != "none":
            raise UserError(f"{self.label}.scale: expected none for a trained network, got {self.scale}; set mean and std")
        if not Path(self.weights).is_file():
            raise UserError(f"{self.label}.weights: expected a file of weights, got none at {self.weights}")
        object.__setattr__(self, "checksum", file_checksum(self.weights))

    def on(self, dataset: Dataset) -> Self:
        """The learner with the shape of the data's points. Raises UserError where mean and std are of other channels."""
        shape = image_shape(dataset)
        for name in ("mean", "std"):
            n = len(getattr(self, name))
            if n not in (1, shape[0]):
                raise UserError(f"{self.label}.{name}: expected one number, or one for each of {shape[0]} channels, got {n}")
        return self._with(shape=shape)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> NetworkModel:
        """Read the weights; points and seed play no part."""
        del y, seed
        with seeded(0):
            known = {"n_classes": n_classes, "n_features": int(x.shape[1]), "shape": self.shape}
            network = made_module(self.module, self.label, **known)
        weights = {
            name.removeprefix(self.prefix): value for name, value in _read(self.weights, self.entry, self.label).items()
        }
        if not Path(self.weights).is_file() or file_checksum(self.weights) != self.checksum:
            raise UserError(
                f"{self.label}.weights: expected {self.weights} to stay as it was, got another content; start again"
            )
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"{self.label}.weights: expected those of {type(network).__name__}, got others: {reason(error)}; set "
                "entry and prefix"
            ) from error
        return NetworkModel(
            Normalised(network, self.mean, self.std),
            n_classes=n_classes,
            label=self.label,
            shape=self.shape,
            precision="single",
            batch_size=self.points_at_once,
        )

    def restore(self, state: Mapping[str, np.ndarray[Any, Any]]) -> NetworkModel:
        """Not needed: the weights are in their file."""
        raise NotImplementedError


def _read(file: str, entry: str | None, label: str) -> dict[str, Tensor]:
    """The named tensors of a file; nothing in it is run."""
    found: Any
    try:
        if Path(file).suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise UserError(f"{label}.weights: expected the library safetensors, got none; pip install safetensors") from error
    except Exception as error:
        raise UserError(
            f"{label}.weights: expected plain tensors in {file}, got {type(error).__name__}: {reason(error)}; save "
            "model.state_dict(), or convert it to .safetensors"
        ) from error
    for name in entry.split(".") if entry else ():
        if not isinstance(found, Mapping) or name not in found:
            names = ", ".join(map(str, found))[:200] if isinstance(found, Mapping) else type(found).__name__
            raise UserError(f"{label}.entry: expected an entry of {file}, got {name}; it has {names}")
        found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        names = ", ".join(map(str, found))[:200] if isinstance(found, Mapping) else type(found).__name__
        raise UserError(f"{label}.entry: expected the entry that holds the weights, got none or another; {file} has {names}")
    return dict(found)
