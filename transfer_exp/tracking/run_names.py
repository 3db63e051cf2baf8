"""Names of runs, from the overrides that tell them apart: ``svm_low (C 0.001) > ridge_low seed 0 attack.norm l2``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from transfer_exp.tracking.settings import NOT_SETTINGS, TABLES

_SHOWN_ANYWAY = {"seed", "surrogate", "target", "surrogate_fraction", "surrogate.name", "target.name", "threads"}
_ESCAPED = re.compile(r"\\(.)")  # Hydra's way to write a colon, say
_LONGEST = 200  # characters; MLflow takes 250


def varied_keys(jobs: Iterable[Sequence[str]]) -> list[str]:
    """The keys of overrides that are not the same in all jobs of a sweep, in their order."""
    listed = list(jobs)
    counts: dict[str, Counter[str]] = {}
    for override in chain.from_iterable(listed):
        counts.setdefault(_key(override), Counter())[override] += 1
    return [key for key, own in counts.items() if max(own.values()) < len(listed)]


def run_name(
    surrogate: str, target: str, *, seed: object, fraction: object, overrides: Sequence[str], varied: Collection[str] | None
) -> str:
    """What a run is called: its learners and seed, the values of the ``varied`` keys (None: of all overridden ones)."""
    shown = {_key(one): _ESCAPED.sub(r"\1", one.partition("=")[2]) for one in overrides}
    shown = {key: value for key, value in shown.items() if _is_shown(key) and (varied is None or key in varied)}
    names = []
    for role, name in (("surrogate", surrogate), ("target", target)):
        own = [key for key in shown if key.startswith(f"{role}.")]
        options = ", ".join(f"{key.removeprefix(f'{role}.')} {shown.pop(key)}" for key in own)
        names.append(f"{name} ({options})" if options else name)
    share = "" if fraction == 1 else f" on {fraction} of its data"
    others = "".join(f" {key} {value}" for key, value in shown.items())
    text = f"{names[0]}{share} > {names[1]} seed {seed}{others}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _is_shown(key: str) -> bool:
    node = key.partition(".")[0]
    return key not in _SHOWN_ANYWAY and (node not in NOT_SETTINGS or node in TABLES)
