"""Transfer attacks beside plain projected gradients, after Dong et al. (CVPR 2018, arXiv 1710.06081) and others: TA1."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from transfer_exp.report import factors, tables, words
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import in_error, of_found
from transfer_exp.report.study import Study

PLAIN = ("pgd", "iterative")
FOR_TRANSFER = ("mifgsm", "nifgsm", "difgsm", "tifgsm", "sinifgsm", "vmifgsm", "admix")
_SAME = ("attack.norm", "attack.goal", "attack.objective", "attack.n_gradients")  # ball, aim and budget of gradients


def beside_plain(study: Study) -> Iterator[tuple[Study, Study]]:
    """The plain attack with each transfer attack that the study has under the same settings and budget."""
    for group in designs.alike(study, "attack", "attack."):
        for plain in (part for part in group if part.attack in PLAIN):
            for other in group:
                same = all(designs.setting(plain, name) == designs.setting(other, name) for name in _SAME)
                if other.attack in FOR_TRANSFER and same and plain.epsilon_reference == other.epsilon_reference:
                    yield plain, other


def named_beside(plain: Study, other: Study) -> str:
    """The plain attack, with those of its settings that the other does not share."""
    own = {name: value for name, value in plain.settings.items() if name != "attack" and other.settings.get(name) != value}
    return ", ".join(filter(None, (plain.attack, factors.in_words(own))))


def more_with_less(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Two verdicts an attack: its points transfer better, and their own surrogate is misled less."""
    del numbers
    for plain, other in beside_plain(study):
        column = designs.transfer(tables.at_reference(plain))
        gained = designs.beside([plain, other], column)
        errors = designs.beside([plain, other], "error")
        name = f"{column.replace('_', ' ')} above {named_beside(plain, other)}"
        yield of_found(
            claim, f"{designs.named(other)}: transfer", name, tests.paired((gained[1] - gained[0]).to_numpy()),
            statement="Momentum, input diversity, translation, scale and the like raise transfer at an equal number of "
            "gradients",
            remark=f"{_means(gained)}; {in_error((errors[1] - errors[0]).to_numpy())}" if len(gained) else "",
        )  # fmt: skip
        reached = "share_of_optimum" if "share_of_optimum" in tables.at_reference(plain) else "surrogate_error"
        own = designs.beside([plain, other], reached)
        if len(own):
            name = f"{reached.replace('_', ' ')} lost beside {named_beside(plain, other)}"
            yield of_found(
                claim, f"{designs.named(other)}: own surrogate", name, tests.paired((own[0] - own[1]).to_numpy()),
                statement="Attacks made for transfer reach less on their own surrogate", remark=_means(own),
            )  # fmt: skip


def _means(table: pd.DataFrame) -> str:
    """Of the transfer attack and of the plain one."""
    return words.means(table[1].to_numpy(), table[0].to_numpy())


CLAIMS = (
    Claim(
        id="TA1", experiment="attacks",
        source="Dong et al. 2018", link="https://arxiv.org/abs/1710.06081", scenarios=EVASION,
        see="DI: https://arxiv.org/abs/1803.06978, TI: https://arxiv.org/abs/1904.02884, SI and NI: "
        "https://arxiv.org/abs/1908.06281, VT: https://arxiv.org/abs/2103.15571",
        turns="for an attack, p of 0.05 or more (not shown); or significantly less transfer than the plain attack, or "
        "more reached on the surrogate (the other way)",
        statement="Attacks made for transfer transfer better than plain projected gradients, though they reach less on "
        "the surrogate",
        measured="Momentum in the iterations made points that transfer better between deep networks on ImageNet; equal "
        "budgets of "
        "gradients, and what is reached on the surrogate, are compared here beside it",
        fewest=tests.FEWEST_PAIRED, judge=more_with_less,
        test="paired signed ranks over repetitions, each attack beside each plain one: pgd, from a random point, and "
        "iterative, from the clean one",
        needs="a plain attack (pgd or iterative) and transfer attacks with the same epsilon, norm, goal, objective and "
        "n_gradients, in 6 repetitions",
        factors=("attack",),
        adds="attack=pgd,mifgsm,nifgsm,difgsm,tifgsm,sinifgsm,vmifgsm measures=share_of_optimum 'seed=range(10)'",
    ),
)  # fmt: skip
