"""What the scenarios of evasion have in common: all measures of the attacked points, health, remarks."""

from __future__ import annotations

from transfer_exp.combination import Outcome
from transfer_exp.data.training_sets import share_in_common
from transfer_exp.margin import predict
from transfer_exp.scenarios import health, remarks
from transfer_exp.scenarios.attacked import Attacked
from transfer_exp.scenarios.looking import Party
from transfer_exp.types import Dataset, Floats
from transfer_exp.work import Work


def log_before(work: Work) -> None:
    """Remarks on what is known before anything is trained."""
    for sentence in work.combination.unknown:
        remarks.log_once(sentence)
    remarks.log_equal_rows(work.dataset, work.split)
    unit = remarks.epsilons_of_another_unit(max(work.epsilons), work.ball, work.dataset.box)
    remarks.log(unit, about=f"epsilons of {work.dataset.name}")


def measured(attacked: Attacked) -> Outcome:
    """Every measure that the scenario has, health, effort, sizes, notes on the data."""
    work = attacked.work
    outcome = Outcome(sizes=work.sizes)
    outcome.metrics |= {f"data/{name}": count for name, count in work.dataset.notes.items()}
    outcome.measure_all(attacked, work.combination)
    outcome.metrics |= {f"seconds/{name}": seconds for name, seconds in attacked.seconds.items()}
    if attacked.sets:
        outcome.metrics["health/variability_overlap"] = share_in_common(attacked.sets)
    outcome.add_shown(work.combination.epsilon)
    health.add(outcome, attacked)
    _log_unmoved(outcome, attacked)
    return outcome


def log_constant(party: Party, role: str, decisions: Floats, dataset: Dataset) -> None:
    """A remark where a model decides for one class whatever it is shown; ``decisions``: logits of the test points."""
    remarks.log_constant(role, party.learner, predict(decisions), dataset.class_names)


def _log_unmoved(outcome: Outcome, attacked: Attacked) -> None:
    """A remark where no point made on a model itself, surrogate or target, changes sides."""
    work = attacked.work
    parties = [("surrogate", attacked.surrogate, attacked.surrogate_clean, "surrogate_error")]
    if attacked.white_box is not None:
        parties += [("target", attacked.target, attacked.target_clean, "whitebox_error")]
    for role, party, clean, curve in parties:
        remark = remarks.nothing_moved(
            role,
            party.learner,
            before=predict(clean),
            classes=attacked.y,
            largest_error=max(outcome.curves[curve]),
            largest=max(work.epsilons),
            ball=work.ball,
            points=work.dataset.x[work.split.test],
            labels=work.dataset.y[work.split.test],
        )
        remarks.log(remark, about=f"unmoved {role} {party.learner.label}")
