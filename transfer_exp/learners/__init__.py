"""The six families of learners: scikit-learn (or torch, for the MLP) fits, torch differentiates.

scikit-learn is imported where it fits: that takes a second, and a run whose models are all in the store fits nothing.
"""

from transfer_exp.learners.base import Learner, Model
from transfer_exp.learners.forest import Forest
from transfer_exp.learners.kernel import RBFSVM
from transfer_exp.learners.linear import LinearSVM, Logistic, Ridge
from transfer_exp.learners.losses import LOSSES
from transfer_exp.learners.mlp import MLP

__all__ = ["LOSSES", "MLP", "RBFSVM", "Forest", "Learner", "LinearSVM", "Logistic", "Model", "Ridge"]
