"""What is measured of attacks, and of why they transfer: one formula in one place."""

from transfer_exp.measures.base import Measure

__all__ = ["Measure"]
