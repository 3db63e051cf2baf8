"""What a study lacks for the claims that it does not test, and the command that adds it, or that of a shipped study."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from transfer_exp.report.claims.base import POISONING, Claim, Verdict
from transfer_exp.report.study import Study
from transfer_exp.system.commands import words_of

_ALWAYS = ("error", "clean_error", "surrogate_error", "whitebox_error")  # recorded of every pair
_CLASSES = "dataset.classes"
# Data sets that shipped studies can be run on: their words, and two of their classes for studies of two.
_SHIPPED = {
    "mnist": ((), ()),
    "fashion_mnist": (("dataset=fashion_mnist",), (f"{_CLASSES}=[7,9]",)),
    "digits": (("dataset=digits",), (f"{_CLASSES}=[8,9]",)),
}
_OF_DIGITS = "dataset.split={{target: {n}, surrogate: {n}, validation: {v}, test: {v}}}"  # they are few


@dataclass(frozen=True, kw_only=True)
class Wanting:
    """A claim that a study cannot test, what that takes, and the command that adds it, or that of a shipped study."""

    claim: Claim
    needs: str
    command: str


def lacking(study: Study, verdicts: Sequence[Verdict], claims: Iterable[Claim]) -> Iterator[Wanting]:
    """Those of the claims of which the study has tested no part, in order."""
    said = {verdict.claim for verdict in verdicts if verdict.verdict != "not tested"}
    for claim in sorted((one for one in claims if one.id not in said), key=lambda one: one.id):
        other = f"a study of {' or '.join(sorted(claim.scenarios))}"
        needs = (claim.needs or _listed(claim)) if study.scenario in claim.scenarios else other
        yield Wanting(claim=claim, needs=needs, command=_command(claim, study))


def _command(claim: Claim, study: Study) -> str:
    """The study's own command with what the claim lacks; of a study from an experiment file, a shipped study on its data.

    What is added to an experiment would meet its blocks, of which each has settings of its own learners.
    """
    typed = study.parents[-1].data.tags.get("command", "") if study.parents else ""
    data = _data(claim, study, typed)
    can_add = claim.adds and study.scenario in claim.scenarios & claim.added_to and _n_classes(study) >= claim.n_classes
    if can_add and not ("experiment=" in typed and data is not None):
        return f"{typed or f'python -m transfer_exp -m study={study.name}'} {claim.adds}"
    return " ".join(["python -m transfer_exp", f"experiment={claim.experiment}", *map(shlex.quote, data or ())])


def _data(claim: Claim, study: Study, typed: str) -> list[str] | None:
    """The words that put a shipped study for the claim on the study's data; None where they are not known."""
    name = str(study.runs.iloc[0]["dataset"]).rstrip("0123456789")
    if claim.scenarios == {"detection"}:
        return []
    if name not in _SHIPPED:
        words = [word for word in words_of(typed) if word.startswith("dataset")]
        return words if words and _n_classes(study) >= claim.n_classes else None
    own, two = _SHIPPED[name]
    of_two = "89" in claim.experiment or claim.scenarios == POISONING
    split = [_OF_DIGITS.format(n=80 if of_two else 400, v=90)] if name == "digits" else []
    return [*own, *(two if of_two and _CLASSES not in claim.factors else ()), *split]


def _n_classes(study: Study) -> int:
    """3 for three and more: of two there are no other mistakes than the same."""
    return 3 if study.curves["other_mistake"].notna().any() else 2


def _listed(claim: Claim) -> str:
    """What a claim takes, where it does not say it in words of its own."""
    twins = [f"H and L of a {role}" for role in claim.roles]
    recorded = [name for name in claim.measures if name not in _ALWAYS]
    listed = ", ".join([*twins, *claim.factors, *recorded]).replace("_", " ") or "other learners"
    return f"{listed}, in {claim.fewest} repetitions"
