"""Logits of a model on the clean points, which every combination of that model asks for: from memory."""

from __future__ import annotations

from transfer_exp.signature import checksum, signature
from transfer_exp.types import Floats, Ints, dense
from transfer_exp.work.base import Work
from transfer_exp.work.fitted import Fitted
from transfer_exp.work.recent import Recent

_recent = Recent(20_000_000)


def clean_logits(work: Work, of: Fitted, rows: Ints) -> Floats:
    """Logits ``(n, K)`` of a model on the clean points of these rows."""
    key = signature(model=of.key, data=work.dataset.checksum, rows=checksum(rows), device=work.device.type)
    return _recent.get(key, lambda: of.model.logits(dense(work.dataset.x[rows]))).copy()
