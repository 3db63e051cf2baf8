"""A user's folder outside the package: a data set, two measures, a claim, an experiment with them. Its numbers are known.

level         of a pair, scalar: 0, 1, 1 and undefined over every four points, so 2/3, undefined on a quarter
strength      of a pair, curve: ``factor`` times epsilon
"""

from __future__ import annotations

from pathlib import Path

MODULE = """
import numpy as np
from transfer_exp.report.claims import Claim
from transfer_exp.report.claims.base import EVASION, of_interval
from transfer_exp import stats
from transfer_exp.types import Box, Dataset, Sizes


def level(context):
    return np.resize([0, 1, np.nan, 1], len(context.y))


def strength(context, factor):
    return factor * np.array(context.work.epsilons)


def judge(claim, study, numbers):
    values = study.curves.groupby("seed")["strength"].max().to_numpy()
    yield of_interval(claim, "largest strength", values.mean(), len(values), stats.mean_interval(values), above=1.0)


strong = Claim(id="strong", source="our lab", statement="Strength exceeds 1", scenarios=EVASION, fewest=3, judge=judge)


def beads(*, n: int, split: Sizes) -> Dataset:
    x = np.random.default_rng(0).random((n, 3))
    box = Box(lower=np.zeros(3), upper=np.ones(3))
    y = (x.sum(1) > 1.5).astype(int)
    return Dataset(name="beads", x=x, y=y, box=box, sizes=split, test_pool=np.zeros(n, dtype=bool), checksum="")
"""
LEVEL = """
level:
  _target_: transfer_exp.measures.Measure
  heading: level of the points
  of: pair
  compute: my_module.level
"""
STRENGTH = """
strength:
  _target_: transfer_exp.measures.Measure
  heading: strength of the attack
  symbol: F
  of: pair
  is_curve: true
  compute:
    _target_: my_module.strength
    _partial_: true
    factor: 8
"""
BEADS = """
_target_: my_module.beads
n: 90
split:
  _target_: transfer_exp.types.Sizes
  test: 20
"""
EXPERIMENT = """
# @package _global_
defaults:
  - /measures: [level, strength]
  - override /dataset: beads
claims:
  strong:
    _target_: my_module.strong
study: mine
n_variability: 2
attack: {n_iter: 5}
epsilon: {grid: [0, 0.25], reference: 0.25, shown: [0.25]}
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      surrogate: ridge_high,ridge_low
      target: ridge_high
"""


def write(folder: Path) -> Path:
    """The folder ``mine``, as it would be named by ``--config-dir``; returns it."""
    files = {
        "my_module.py": MODULE + "\n\ndef claims():\n    return [strong]\n",
        "measures/level.yaml": LEVEL,
        "measures/strength.yaml": STRENGTH,
        "dataset/beads.yaml": BEADS,
        "experiment/beads.yaml": EXPERIMENT,
    }
    for name, text in files.items():
        file = folder / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip())
    return folder / "mine"
