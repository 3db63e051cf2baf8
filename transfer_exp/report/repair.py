"""The command that completes a part of a study, from the one that was typed for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import yaml
from mlflow.entities import Run

_BEGIN = ["python", "-m", "transfer_exp"]
_SWEEP = ("-m", "--multirun")


def command(run: Run, parents: Sequence[Run], overrides: bytes | None, seeds: Sequence[int]) -> str:
    """The command of the run's sweep, or, for a single run, of its ``overrides``, on these seeds; empty if not recorded."""
    sweep = run.data.tags.get("mlflow.parentRunId")
    typed = next((parent.data.tags.get("command", "") for parent in parents if parent.info.run_id == sweep), "")
    words = _split(typed) or _listed(overrides)
    if not words:
        return ""
    kept = [word for word in words[len(_BEGIN) :] if not word.startswith("seed=") and word not in _SWEEP]
    return shlex.join([*_BEGIN, "-m", *kept, f"seed={','.join(map(str, seeds))}"])


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # somebody else wrote it
        return []


def _listed(overrides: bytes | None) -> list[str]:
    try:
        words = yaml.safe_load(overrides) if overrides else None
    except yaml.YAMLError:
        return []
    return [*_BEGIN, *map(str, words)] if isinstance(words, list) else []
