"""Learners, one file a family: scikit-learn (or torch, for networks) fits, torch differentiates.

To add one: a file here with a subclass of ``base.Learner``, and its choice in conf/learner, conf/surrogate and conf/target.
A torch module of one's own needs no file here (``torch_module``), nor do weights of one's own (``pretrained``): see
docs/extending.md.
scikit-learn is imported where it fits: that takes a second, and a run whose models are all in the store fits nothing.
"""

from transfer_exp.learners.bagged import Bagged
from transfer_exp.learners.base import Learner
from transfer_exp.learners.cnn import CNN
from transfer_exp.learners.ensemble import Ensemble
from transfer_exp.learners.forest import Forest
from transfer_exp.learners.kernel import RBFSVM
from transfer_exp.learners.linear import LinearSVM, Logistic, Ridge
from transfer_exp.learners.losses import LOSSES
from transfer_exp.learners.mlp import MLP
from transfer_exp.learners.model import Model
from transfer_exp.learners.onnx_model import Onnx
from transfer_exp.learners.predictor import Predictor
from transfer_exp.learners.pretrained import Pretrained
from transfer_exp.learners.resnet import ResNet
from transfer_exp.learners.sanitised import Sanitised
from transfer_exp.learners.sklearn_model import Sklearn
from transfer_exp.learners.torch_module import TorchModule
from transfer_exp.learners.tuned import Tuned

__all__ = [
    "CNN",
    "LOSSES",
    "MLP",
    "RBFSVM",
    "Bagged",
    "Ensemble",
    "Forest",
    "Learner",
    "LinearSVM",
    "Logistic",
    "Model",
    "Onnx",
    "Predictor",
    "Pretrained",
    "ResNet",
    "Ridge",
    "Sanitised",
    "Sklearn",
    "TorchModule",
    "Tuned",
]
