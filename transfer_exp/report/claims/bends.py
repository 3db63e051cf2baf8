"""Does a curve bend? A line that turns up at one place against smooth curves, out of sample over repetitions: TH1.

    bent      a min(s, c) + b max(s - c, 0)     with a <= b / 2: up to c it rises less than half as fast as beyond
    smooth    a s + b s^2, or a s^p with p >= 1: straight lines, and curves that get steeper everywhere

Both are fitted, by least squares, to the mean of one half of the repetitions, of the smooth ones the better one there; the
other half is predicted. Two shares at least lie on either side of c, so that no single one makes a bend.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from transfer_exp.report.claims.tests import Found, above
from transfer_exp.types import Floats

FEWEST_SHARES = 6  # above 0
_BESIDE = 2  # shares on either side of a bend
_POWERS = np.linspace(1, 6, 51)


@dataclass(frozen=True, kw_only=True)
class Bend:
    """A bent line: its place, and the slopes before and beyond it."""

    place: float
    before: float
    beyond: float

    def at(self, shares: Floats) -> Floats:
        """Its values ``(m,)``."""
        below = np.minimum(shares, self.place)
        return np.asarray(self.before * below + self.beyond * (shares - below))


def bent(mean: Floats, shares: Floats) -> Bend:
    """The bent line nearest to values ``(m,)``."""
    found = []
    for place in shares[_BESIDE - 1 : -_BESIDE]:
        below = np.minimum(shares, place)
        # Slopes beyond / 2 - less before it, and beyond: both numbers of the fit are at least 0.
        (beyond, less), off = scipy.optimize.nnls(np.stack([below / 2 + shares - below, -below], axis=1), mean)
        found.append((off, Bend(place=float(place), before=float(beyond / 2 - less), beyond=float(beyond))))
    return min(found, key=lambda one: one[0])[1]


def smooth(mean: Floats, shares: Floats) -> Floats:
    """Values ``(m,)`` of the smooth curve nearest to those given."""
    quadratic = np.stack([shares, shares**2], axis=1)
    found = [quadratic @ np.linalg.lstsq(quadratic, mean, rcond=None)[0]]
    for power in _POWERS:
        curve = shares**power
        found.append(curve * (curve @ mean) / (curve @ curve))
    return np.asarray(min(found, key=lambda one: float(((one - mean) ** 2).sum())))


def bend(table: Floats, shares: Floats) -> tuple[Found, Bend | None]:
    """That curves ``(n, m)`` from 0 at 0 through ``shares (m,)`` bend, and how: every other repetition is fitted.

    The effect is by how much the smooth curve misses the other repetitions more than the bent one does: the difference of
    root mean squares over the shares, in the unit of the curves.
    """
    table = table[~np.isnan(table).any(axis=1)]
    n = len(table)
    if n < 2 or len(shares) < FEWEST_SHARES:
        return Found(effect=math.nan, p_value=math.nan, n=n), None
    mean, tested = table[::2].mean(axis=0), table[1::2]
    chosen = bent(mean, shares)
    missed = [np.sqrt(((tested - curve) ** 2).mean(axis=1)) for curve in (smooth(mean, shares), chosen.at(shares))]
    return above(missed[0] - missed[1], n=n), chosen
