"""More attack points than fit into memory: crafted batch after batch, each to be used and let go.

The offsets of 100,000 points with 784 features at 11 epsilons take 34 GB. A batch of them takes what its
``attack.batch_size`` points do, however many follow: measure it (errors, sizes, correlations: a number a point), then go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.learners import Model
from transfer_exp.types import Box, Ints, Matrix, dense


def stream(
    attack: Evasion, model: Model, x: Matrix, y: Ints, *, epsilons: Sequence[float], box: Box
) -> Iterator[tuple[slice, Crafted]]:
    """Rows of ``x`` ``(n, d)``, dense or CSR, and their attack points: those of ``craft``, ``attack.batch_size`` a time.

    Raises UserError as ``attack.craft`` does, at the batch that gives reason to.
    """
    for begin in range(0, len(y), attack.batch_size):
        rows = slice(begin, min(begin + attack.batch_size, len(y)))
        yield rows, attack.craft(model, dense(x[rows]), y[rows], epsilons=epsilons, box=box)
