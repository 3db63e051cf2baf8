"""Checks of learners, attacks, data sets and measures: does each keep what the suite relies on.

``python -m transfer_exp.check`` runs them on a configuration; the functions here take objects, from a notebook, say:
``check_learner(MyLearner(), load_digits(...))`` gives a list of findings.
"""

from transfer_exp.checks.attack import check_attack
from transfer_exp.checks.base import Finding
from transfer_exp.checks.dataset import check_dataset
from transfer_exp.checks.learner import check_learner
from transfer_exp.checks.measures import check_measures
from transfer_exp.checks.table import table

__all__ = ["Finding", "check_attack", "check_dataset", "check_learner", "check_measures", "table"]
