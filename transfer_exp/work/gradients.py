"""Input gradients of a model at the clean points: their sizes from the store, the gradients themselves from memory.

In the store the gradients of all models of a repetition would take more room than everything else. The next combinations
of a sweep ask for those of the same models again, so that those used last are kept in memory.
"""

from __future__ import annotations

from transfer_exp.measures.gradients import cross_entropy_slopes, loss_gradients, margin_gradients
from transfer_exp.measures.losses import CROSS_ENTROPY
from transfer_exp.signature import Key, checksum, code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints, dense
from transfer_exp.work import fitted as trained
from transfer_exp.work.base import Work
from transfer_exp.work.fitted import Fitted
from transfer_exp.work.recent import Recent

_CODE = ("measures", "optim", "signature", *trained.CODE, "work/gradients.py", "work/recent.py")
_recent = Recent(200_000_000)  # of 1,000 points with 784 features: those of 31 models


def margin_gradients_at(work: Work, of: Fitted, rows: Ints) -> Floats:
    """Gradients ``(n, d)`` of the smooth margin at the clean points of these rows. Not to be changed in place."""

    def differentiate() -> Floats:
        return margin_gradients(of.model, dense(work.dataset.x[rows]), work.dataset.y[rows])

    return _recent.get(_key(work, of, rows), differentiate)


def gradient_sizes_at(work: Work, of: Fitted, rows: Ints) -> Arrays:
    """S of each clean point ``(n,)``: ``cross_entropy`` and, where the learner has a loss, that of its ``own``."""

    def measure() -> Arrays:
        x, y = work.part(rows)
        loss_name = of.model.loss_name
        slopes = cross_entropy_slopes(of.model.logits(x), y)
        found: Arrays = {CROSS_ENTROPY: slopes * work.ball.dual_size(margin_gradients_at(work, of, rows))}
        if loss_name == CROSS_ENTROPY:
            found["own"] = found[CROSS_ENTROPY]
        elif loss_name is not None:
            found["own"] = work.ball.dual_size(loss_gradients(of.model, x, y, loss_name))
        return found

    key = signature(gradients=_key(work, of, rows), norm=work.ball.name)
    return work.stored("gradient_sizes", key, measure)


def _key(work: Work, of: Fitted, rows: Ints) -> Key:
    return signature(
        model=of.key,
        data=work.dataset.checksum,
        rows=checksum(rows),
        device=work.device.type,
        code=code_version(*_CODE),
    )
