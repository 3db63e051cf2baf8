"""The source of a learner that stands outside the package: ridge, which can be told to learn the wrong way round."""

LEARNER = """
from dataclasses import dataclass
from transfer_exp.learners.linear import Ridge

@dataclass(frozen=True, kw_only=True)
class Mine(Ridge):
    SIGN = 1
    def _fit(self, x, y, *, n_classes, seed):
        return super()._fit(x, y if self.SIGN == 1 else n_classes - 1 - y, n_classes=n_classes, seed=seed)
"""
