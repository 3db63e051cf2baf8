"""Attack points as goods: taken from a combination, written to a file with their origin, shown to any model."""

from transfer_exp.points.file import PointsFile, read, write
from transfer_exp.points.showing import Shown, show
from transfer_exp.points.taking import take

__all__ = ["PointsFile", "Shown", "read", "show", "take", "write"]
