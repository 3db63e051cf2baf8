"""Claims of the user's own, named as ``my_module.my_claim``: a ``Claim``, several, or a function that makes them.

They are named to a report (``python -m transfer_exp.report study=s claims=my_module.my_claim``) or in an experiment
(``+claims.mine._target_=...``); docs/extending.md has one. Published claims: a file of this folder, and ``__init__``.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from typing import Any

from mlflow.entities import Run

from transfer_exp.report.claims import CLAIMS, Claim
from transfer_exp.types import UserError


def claims_named(text: str) -> dict[str, tuple[Claim, ...]]:
    """Claims by the names, with commas between them, under which Python finds them. Raises UserError where it finds none."""
    claims = {name: as_claims(_found(name), "claims", name) for name in filter(None, map(str.strip, text.split(",")))}
    check_claims([claim for several in claims.values() for claim in several])
    return claims


def _found(name: str) -> Any:
    module, _, below = name.rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(module), below)
        return found() if callable(found) else found
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"claims: expected module.name of a claim, of several, or of a function that makes them, got {name} "
            f"({type(error).__name__}: {error})"
        ) from error


def as_claims(made: Any, where: str, name: str) -> tuple[Claim, ...]:
    """What ``name`` gave as claims. Raises UserError, with the place ``where`` it was named, unless it is one or more."""
    claims = (made,) if isinstance(made, Claim) else tuple(made) if isinstance(made, list | tuple) else ()
    others = [one for one in claims if not isinstance(one, Claim)]
    if others or not claims:
        got = type(others[0] if others else made).__name__
        raise UserError(f"{where}: expected {name} to be a transfer_exp.report.claims.Claim, or several, got {got}")
    return claims


TAG = "claims"  # of a parent: where the claims of the user's own that its report has judged come from


def left_out(parents: Sequence[Run], own: Collection[str]) -> list[str]:
    """Claims of the user's own that the newest report of a study judged, and that are not among ``own`` now."""
    told = next((run.data.tags[TAG] for run in reversed(parents) if TAG in run.data.tags), "")
    return [name for name in filter(None, told.split(",")) if name not in own]


def check_claims(claims: Sequence[Claim]) -> None:
    """Raise UserError where two claims have one id, or one has that of a published claim."""
    seen = {claim.id for claim in CLAIMS}
    for claim in claims:
        if claim.id in seen:
            raise UserError(f"claims: expected an id of its own for each claim, got {claim.id} twice; choose another")
        seen.add(claim.id)
