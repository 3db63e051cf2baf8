"""The source of a learner that stands outside the package: ridge, which can be told to learn the wrong way round."""

LEARNER = """
from dataclasses import dataclass
from transfer_exp.learners.linear import Ridge

@dataclass(frozen=True, kw_only=True)
class Mine(Ridge):
    SIGN = 1
    def _fit(self, x, y, *, seed):
        return super()._fit(x, self.SIGN * y, seed=seed)
"""
