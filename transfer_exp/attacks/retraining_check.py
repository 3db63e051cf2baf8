"""Whether the gradient that moved the points of a network is the slope of retraining: a health number of the attack.

    u_1 ... u_n   random directions of a few of the points together, entries -1 and +1
    slope_j  =    (J(x + h u_j) - J(x - h u_j)) / 2h          retrained from the weights at x
    result   =    cosine of (<g, u_j>)_j and (slope_j)_j

Of directions drawn at random it is the cosine of g and the gradient of retraining, but for the draw. Differences in all
coordinates would take two retrainings each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transfer_exp.learners.retraining_network import NetworkRetraining
from transfer_exp.seeds import generator
from transfer_exp.types import Floats, Ints

N_POINTS = 5
N_DIRECTIONS = 8
STEP = 0.02
"""h, as a share of the box in each feature."""


def cosine_with_retraining(network: NetworkRetraining, points: Floats, labels: Ints, *, size: Floats, seed: int) -> float:
    """For a network retrained with ``points`` ``(m, d)``, as it is left; NaN where either side is 0.

    size: the box's in each feature ``(d,)``. Retrainings take all their steps here, whatever the tolerance.
    """
    gradient, _ = network.gradient()
    kept = network.how, network.weights, replace(network.counts)
    network.how = replace(network.how, tolerance=0.0)
    network.retrain(points, labels)
    centre, rng = network.weights, generator(seed, "measures")
    expected, found = np.zeros(N_DIRECTIONS), np.zeros(N_DIRECTIONS)
    for j in range(N_DIRECTIONS):
        direction = np.zeros_like(points)
        direction[:N_POINTS] = rng.choice([-1.0, 1.0], size=direction[:N_POINTS].shape) * size
        ends = []
        for sign in (1, -1):
            network.weights = centre
            ends.append(network.retrain(points + sign * STEP * direction, labels))
        expected[j], found[j] = (gradient * direction).sum(), (ends[0] - ends[1]) / (2 * STEP)
    network.how, network.weights, network.counts = kept
    network.take(points, labels)
    norms = float(np.linalg.norm(expected) * np.linalg.norm(found))
    return float(expected @ found) / norms if norms else float("nan")
