"""What one combination does, in order. Knows neither Hydra nor MLflow: a notebook calls the same ``run``.

Everything slow goes through the store, under a signature of exactly what it depends on, so that combinations share
surrogates, targets and attack points.
"""

from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.pipeline.combination import CURVES, Combination, Outcome
from transfer_exp.pipeline.evasion import run_evasion
from transfer_exp.pipeline.evasion_add import run_evasion_add
from transfer_exp.pipeline.poisoning import run_poisoning
from transfer_exp.store import Store

__all__ = ["CURVES", "Combination", "Outcome", "run"]


def run(combination: Combination, store: Store) -> Outcome:
    """Do one combination; raises UserError on what the user can mend."""
    attack = combination.attack
    if isinstance(attack, EvasionAdd):
        return run_evasion_add(combination, attack, store)
    if isinstance(attack, Poisoning):
        return run_poisoning(combination, attack, store)
    return run_evasion(combination, store)
