"""What an attack on training data gives: its points, and what is known of how they were made."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from transfer_exp.types import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Poisoned:
    """m poisoning points of one learner on one training set, in the order in which they were placed.

    points, start_points: ``(m, d)`` float64. labels: ``(m,)``, classes. start_rows: ``(m,)``, the starts' rows.
    objective_start, objective: ``(m,)``, validation loss with the point at its start and where it ended; NaN from an attack
    that does not ask for it.
    stayed: ``(m,)`` bool, did not move. no_support: ``(m,)`` bool, the learner gives the point no weight.
    residual: ``(m,)``, largest relative residual of the implicit solves. retrainings, gradients, fallbacks: ``(m,)`` counts.
    seconds: ``(m,)`` of CPU time that each point took; None where the attack does not tell.
    Counts and seconds of points moved together stand at the first of them.
    Of networks, and else empty: own, the validation errors of those trained with the points from the draws that they were
    first moved along; fresh, from other draws; damping of their retraining; cosine of the first one's gradient with
    retraining (``retraining_check``).
    """

    points: Floats
    labels: Ints
    start_points: Floats
    start_rows: Ints
    objective_start: Floats
    objective: Floats
    stayed: npt.NDArray[np.bool_]
    no_support: npt.NDArray[np.bool_]
    residual: Floats
    retrainings: Ints
    gradients: Ints
    fallbacks: Ints
    seconds: Floats | None = None
    own: Floats = field(default_factory=lambda: np.zeros(0))
    fresh: Floats = field(default_factory=lambda: np.zeros(0))
    damping: Floats = field(default_factory=lambda: np.zeros(0))
    cosine: Floats = field(default_factory=lambda: np.zeros(0))

    def health(self) -> dict[str, float]:
        """What may be wrong with the points: shares of points, the largest residual, retrainings gone wrong."""
        shown = {
            "stayed_at_start": float(self.stayed.mean()),
            "no_support_vector": float(self.no_support.mean()),
            "implicit_residual": float(self.residual.max(initial=0.0)),
            "retraining_fallbacks": float(self.fallbacks.sum()),
        }
        of_networks = {
            "own_network_error": self.own,
            "fresh_network_error": self.fresh,
            "implicit_damping": self.damping,
            "gradient_cosine": self.cosine[np.isfinite(self.cosine)],
        }
        return shown | {name: float(values.mean()) for name, values in of_networks.items() if len(values)}
