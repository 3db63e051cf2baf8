"""The learners of a study: family and complexity as its runs recorded them, how they are ordered, labelled and paired.

A learner that a study has with several settings has *variants*: ``svm_low[C=0.001]`` and ``svm_low[C=1]``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from transfer_exp.figures.style import COMPLEXITIES, Complexity, Look

_FAMILIES = {  # in the order of tables and figures
    "svm": "SVM",
    "rbf": "RBF",
    "logistic": "logistic",
    "ridge": "ridge",
    "mlp": "MLP",
    "forest": "forest",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One learner of a study.

    name: its display name. family, complexity: as recorded. options: the settings that tell a variant from the others of its
    name; empty for a learner with one setting.
    """

    name: str
    family: str
    complexity: Complexity | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def level(self) -> Complexity | None:
        """H or L of a pair; a variant is neither, since its settings are not those of the pair."""
        return None if self.options else self.complexity

    @property
    def id(self) -> str:
        """Its name, or that of the variant: ``svm_low[C=0.001]``."""
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name}[{options}]" if options else self.name


def family_label(family: str) -> str:
    """A family's name for people."""
    return _FAMILIES.get(family, family)


class Learners:
    """The kinds of learners of a study by id; what is no learner of it (``mean``, ``noise``) is a family of its own."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds = {kind.id: kind for kind in kinds}
        names = {(kind.family, kind.level, kind.name) for kind in self._kinds.values()}
        self._names_of_level = Counter((family, level) for family, level, _ in names)

    def __contains__(self, name: str) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def of(self, name: str) -> Kind:
        """The kind with this id."""
        return self._kinds.get(name) or Kind(name=name, family=name)

    def family(self, name: str) -> str:
        """The family of a learner."""
        return self.of(name).family

    def level(self, name: str) -> Complexity | None:
        """``high`` or ``low``; None for a learner without complexity, and for a variant."""
        return self.of(name).level

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Ids by family (known ones first), H next to L, then variants by the size of their options."""
        known = list(_FAMILIES)

        def key(name: str) -> tuple[Any, ...]:
            kind = self.of(name)
            rank = known.index(kind.family) if kind.family in known else len(known)
            level = COMPLEXITIES.index(kind.level) if kind.level else len(COMPLEXITIES)
            return rank, kind.family, level, tuple(map(_by_size, kind.options.values())), name

        return sorted(set(names), key=key)

    def families(self, names: Iterable[str]) -> list[str]:
        """The families of these learners, in order, once each."""
        return list(dict.fromkeys(self.family(name) for name in self.ordered(names)))

    def at_level(self, family: str, level: Complexity, names: Iterable[str]) -> list[str]:
        """Those of these learners that are H, or L, of a family."""
        return [name for name in self.ordered(names) if (self.family(name), self.level(name)) == (family, level)]

    def pairs(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """H and L of each family that has exactly one of each among these learners."""
        names = list(names)
        found = {family: [self.at_level(family, level, names) for level in COMPLEXITIES] for family in self.families(names)}
        return {family: (high[0], low[0]) for family, (high, low) in found.items() if len(high) == len(low) == 1}

    def label(self, name: str) -> str:
        """A learner for people: ``SVM H``, ``SVM, C 0.001``; its name where family and complexity do not say which it is."""
        kind = self.of(name)
        if kind.options:
            return ", ".join([family_label(kind.family), *(f"{option} {value}" for option, value in kind.options.items())])
        if kind.level is None or self._names_of_level[kind.family, kind.level] > 1:
            return kind.name
        return f"{family_label(kind.family)} {kind.level[0].upper()}"

    def label_or_family(self, name: str) -> str:
        """The label of a learner, or of a family, for tables that have one or the other."""
        return self.label(name) if name in self else family_label(name)

    def looks(self, names: Iterable[str]) -> dict[str, Look]:
        """How each of these learners is drawn, in order; variants of one family from a light to a dark shade."""
        ids = self.ordered(names)
        shades: dict[str, float] = {}
        for family in self.families(ids):
            variants = [name for name in ids if self.of(name).options and self.family(name) == family]
            if len(variants) > 1:
                shades |= {name: place / (len(variants) - 1) for place, name in enumerate(variants)}
        return {
            name: Look(
                label=self.label(name), family=self.family(name), complexity=self.level(name), shade=shades.get(name, 0.5)
            )
            for name in ids
        }


def _by_size(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text
