"""Threat models: what the attacker may do and what counts as harm. Knows neither Hydra nor MLflow.

An attack names its scenario. ``run`` does one combination: a notebook calls it as the command line does.
"""

from typing import Protocol

from transfer_exp.combination import Combination, Outcome
from transfer_exp.scenarios import classification, detection, poisoning
from transfer_exp.store import Store

__all__ = ["SCENARIOS", "Combination", "Outcome", "check", "run"]


class Scenario(Protocol):
    """A module of this room."""

    NAME: str

    def check(self, combination: Combination) -> None:
        """Raise UserError on what is known to fail before anything is trained."""

    def run(self, combination: Combination, store: Store) -> Outcome:
        """Do one combination."""


SCENARIOS: dict[str, Scenario] = {one.NAME: one for one in (classification, detection, poisoning)}


def check(combination: Combination) -> None:
    """Raise UserError on what is known to fail before anything is trained: a split that does not fit the data, say."""
    SCENARIOS[combination.attack.scenario].check(combination)


def run(combination: Combination, store: Store) -> Outcome:
    """Do one combination; raises UserError on what the user can mend."""
    return SCENARIOS[combination.attack.scenario].run(combination, store)
