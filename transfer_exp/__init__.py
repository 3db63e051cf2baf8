"""Why do adversarial attacks transfer? Surrogates, targets, attacks and the measures that explain them.

    from transfer_exp import Combination, Store, run, track

``run(combination, store)`` gives the outcome of a combination, ``track(combination)`` records it in MLflow as well.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["Combination", "Store", "run", "track"]

_ROOMS = {"Combination": "combination", "Store": "store", "run": "scenarios", "track": "tracking.track"}

if TYPE_CHECKING:
    from transfer_exp.combination import Combination
    from transfer_exp.scenarios import run
    from transfer_exp.store import Store
    from transfer_exp.tracking.track import track
else:

    def __getattr__(name: str) -> Any:
        """Import what is asked for, and nothing before: torch and MLflow take seconds."""
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
