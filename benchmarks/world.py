"""What is measured on: data, and the learners of the study's own configuration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from transfer_exp.data.splits import make_split
from transfer_exp.learners import Learner, Model
from transfer_exp.types import Box, Dataset, Floats, Ints

SURROGATES = tuple(f"{family}_{level}" for family in ("svm", "rbf", "logistic", "ridge", "mlp") for level in ("high", "low"))
POISONED = tuple(name for name in SURROGATES if not name.startswith("mlp"))
EPSILONS = (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5)
_CONF = Path(__file__).parents[1] / "conf"


def learner(name: str, study: str) -> Learner:
    """The learner of that name with the hyperparameters of a study."""
    with initialize_config_dir(str(_CONF), version_base="1.3"):
        config = compose("config", [f"surrogate={name}", f"hyperparameters={study}"])
    made: Learner = instantiate(config.surrogate, _convert_="all")
    return made


def data(name: str, *options: str) -> Dataset:
    """The data set of that name with these options, as ``split.test=40``."""
    with initialize_config_dir(str(_CONF), version_base="1.3"):
        config = compose("config", [f"dataset={name}", *(f"dataset.{one}" for one in options)])
    made: Dataset = instantiate(config.dataset, _convert_="all")
    return made


@dataclass(frozen=True)
class World:
    """Points to attack ``(n, d)`` and models to attack them on; data to poison."""

    dataset: Dataset
    poisoned: Dataset
    quick: bool

    @property
    def box(self) -> Box:
        """The box of both."""
        return self.dataset.box

    @cached_property
    def attacked(self) -> tuple[Floats, Ints]:
        """Test points and labels."""
        rows = make_split(self.dataset, seed=0).test
        return self.dataset.x[rows], self.dataset.y[rows]

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {}

    def model(self, name: str) -> Model:
        """The trained surrogate of that name, float64."""
        if name not in self._models:
            rows = make_split(self.dataset, seed=0).surrogate
            made = learner(name, "mnist89_evasion").fit(self.dataset.x[rows], self.dataset.y[rows], n_classes=2, seed=0)
            self._models[name] = made
        return self._models[name]


def load_world(*, quick: bool) -> World:
    """MNIST 8 against 9 at the paper's sizes, or the bundled digits."""
    if quick:
        sizes = ("split.target=60", "split.surrogate=60", "split.validation=60", "split.test=40")
        return World(data("digits89", "split.test=40"), data("digits89", *sizes), quick)
    sizes = ("split.target=500", "split.surrogate=500", "split.validation=1000", "split.test=1000")
    return World(data("mnist89"), data("mnist89", *sizes), quick)
