"""The options of the iterative transfer attacks, and how their budget is spent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from transfer_exp.attacks.goals import ANY, require_goal
from transfer_exp.attacks.iterative_inputs import Copies
from transfer_exp.attacks.iterative_loss import Average, Objective
from transfer_exp.attacks.iterative_steps import Step
from transfer_exp.types import UserError

_NORMS = ("l1", "l2", "linf")
_RANGES = {  # smallest and largest value of each number
    "n_gradients": (1, np.inf),
    "length": (1, np.inf),
    "momentum": (0, np.inf),
    "diversity": (0, 1),
    "resize_rate": (0, 1),
    "kernel_size": (1, np.inf),
    "kernel_reach": (0, np.inf),
    "n_scales": (1, np.inf),
    "n_mixed": (0, np.inf),
    "mix_share": (0, np.inf),
    "n_neighbours": (0, np.inf),
    "neighbour_radius": (0, np.inf),
    "batch_size": (1, np.inf),
    "seed": (0, np.inf),
}
_WORDS = {
    "norm": _NORMS,
    "objective": get_args(Objective),
    "average": get_args(Average),
    "step": get_args(Step),
    "neighbours": ("variance", "mean"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the attack; as they are, plain steps along the cross-entropy's gradient.

    norm: of the ball, l1, l2 or linf. goal: the class to reach (see ``goals``). objective, average: see ``iterative_loss``.
    n_gradients: most gradients a point and epsilon. length: of all steps together, in epsilons; at least 1, so that the
    ball's surface can be reached. step: see ``iterative_steps``. random_start: from a random point of the ball. momentum:
    what is left of the steps before. nesterov: gradients where momentum alone leads. diversity, resize_rate, n_scales,
    n_mixed, mix_share: see ``iterative_inputs``. kernel_size: pixels, odd, 1: none; kernel_reach: see ``gaussian_kernel``.
    n_neighbours: random points within neighbour_radius epsilons; neighbours: what their gradients are for, ``variance``
    tuning (arXiv 2103.15571) or the ``mean`` (1802.09707). batch_size: points moved together. seed: of every draw.
    """

    name: str = field(default="iterative", compare=False)
    norm: str = "linf"
    goal: str | int = ANY
    objective: Objective = "cross_entropy"
    average: Average = "logits"
    n_gradients: int = 60
    length: float = 1.0
    step: Step = "steepest"
    random_start: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    diversity: float = 0.0
    resize_rate: float = 0.9
    kernel_size: int = 1
    kernel_reach: float = 3.0
    n_scales: int = 1
    n_mixed: int = 0
    mix_share: float = 0.2
    n_neighbours: int = 0
    neighbours: Literal["variance", "mean"] = "variance"
    neighbour_radius: float = 1.5
    batch_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_goal(self.goal)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise UserError(f"attack.{name}: expected one of {', '.join(words)}, got {getattr(self, name)}")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                upto = "" if np.isinf(most) else f" and <= {most}"
                raise UserError(f"attack.{name}: expected a number >= {least}{upto}, got {getattr(self, name)}")
        if self.kernel_size % 2 == 0:
            raise UserError(f"attack.kernel_size: expected an odd number of pixels, got {self.kernel_size}")
        if self.nesterov and not self.momentum:
            raise UserError("attack.nesterov: expected momentum above 0 to look ahead by, got 0; set attack.momentum=1")
        if self.n_steps < 1:
            raise UserError(
                f"attack.n_gradients: expected at least {self.gradients_per_step}, those of one step, got {self.n_gradients}"
            )

    @property
    def gradients_per_step(self) -> int:
        """Gradients of a point in one step."""
        tuned = self.neighbours == "variance" or not self.n_neighbours
        return self.copies.n * (self.n_neighbours + tuned)

    @property
    def n_steps(self) -> int:
        """Steps that the budget allows."""
        return self.n_gradients // self.gradients_per_step

    @property
    def mixes_known(self) -> bool:
        """Whether other points are mixed in, so that ``craft`` needs ``known`` ones."""
        return self.n_mixed > 0

    @property
    def copies(self) -> Copies:
        """What is shown to the model for a point."""
        names = ("n_scales", "n_mixed", "mix_share", "diversity", "resize_rate")
        return Copies(**{name: getattr(self, name) for name in names})
