"""Descriptions on MLflow's page, in markdown: what a run is, the command that makes it again, where its report is.

MLflow keeps a description as the tag ``mlflow.note.content``. A person may write there, too: only the text above a mark,
which the page does not show, is replaced.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transfer_exp.system.masking import masked
from transfer_exp.tracking.studies import study_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

NOTE = "mlflow.note.content"
TRAINING = {"mlflow.experimentKind": "custom_model_development"}
LONGEST = 5_000  # characters; MLflow takes 8,000 on a run, and versions before 3 took 5,000 on an experiment
_MARK = "<!-- What stands above is written anew by every sweep: write below. -->"
_LAYOUT = "?workflowType=machine_learning"
_WIDTH = 74  # characters of a line of code, which a page does not break
_LONGEST_COMMAND = 2_000  # characters


def command_line(arguments: Sequence[str]) -> str:
    """The command with these arguments, quoted for a shell; without credentials, which the environment can give."""
    return shlex.join(["python", "-m", "transfer_exp", *map(_without_credentials, arguments)])


def of_combination(name: str, about: str, overrides: Sequence[str] | None, *, study: str, parent: str | None) -> str:
    """Description of one combination; ``about``: a sentence on it, ``parent``: address of its sweep on the page.

    overrides: those of its command; None for a combination that Python code made.
    """
    if overrides is None:
        return _joined(f"{name}: {about}", "Made from Python, by `transfer_exp.track`.", _report_command(study))
    again = [*(one for one in overrides if not one.startswith("resume=")), "resume=false"]
    if any(one.startswith("experiment=") for one in overrides):
        again.append("hydra.mode=RUN")  # its file asks for a sweep
    where = f"[Its sweep]({parent}) has the matrix, and says where the report is." if parent else _report_command(study)
    return _joined(f"{name}: {about}", "The same again:", _code(command_line(again)), where)


def sentence(names: Mapping[str, Any]) -> str:
    """What is done in a combination, as far as its names are known."""
    known = {name: names.get(name, "?") for name in ("attack", "surrogate", "target", "dataset", "seed")}
    return (
        "the attack {attack} is made on the surrogate {surrogate} and shown to the target {target}, trained on other points "
        "of {dataset}; random split {seed}."
    ).format(**known)


def of_sweep(study: str, size: str, command: str, *, matrices: str = "", report: str = "") -> str:
    """Description of a study's parent; ``report``: address of the report on the page."""
    return _joined(f"A sweep of the study {study}: {size}.", matrices, _code(command), _where(study, report))


def of_study(study: str, size: str, command: str, *, matrices: str, report: str = "") -> str:
    """Description of a study's experiment: as of its newest sweep."""
    return _joined(f"{size}.", matrices, "The newest sweep:", _code(command), _where(study, report))


def address(experiment: str, run_id: str, artifact: str = "") -> str:
    """Where MLflow's page shows a run, or an artifact of it; holds on any host."""
    return f"#/experiments/{experiment}/runs/{run_id}{'/artifacts/' if artifact else ''}{artifact}{_LAYOUT}"


def page(tracking_uri: str, experiment: str) -> str:
    """Address of an experiment's table of runs, on the server or, for a local store, on the one that ``make ui`` starts.

    MLflow 3.17 opens every experiment as one of generative AI unless the address, or an earlier choice in the same
    browser, says otherwise.
    """
    return f"{_server(tracking_uri)}/#/experiments/{experiment}/runs{_LAYOUT}"


def page_of_run(tracking_uri: str, experiment: str, run_id: str) -> str:
    """Address of one run, as ``page``."""
    return f"{_server(tracking_uri)}/{address(experiment, run_id)}"


def _server(tracking_uri: str) -> str:
    return _without_credentials(tracking_uri).rstrip("/") if tracking_uri.startswith("http") else "http://127.0.0.1:5000"


def with_note(earlier: str, text: str) -> str:
    """The description that takes the place of an earlier one: what a person wrote, below the mark or without one, stays."""
    _, mark, below = earlier.partition(_MARK)
    own = below if mark else earlier
    return f"{text}\n\n{_MARK}" + (f"\n\n{own.strip()}" if own.strip() else "")


def describe_run(client: MlflowClient, run_id: str, text: str) -> None:
    """Set the description of a run."""
    earlier = client.get_run(run_id).data.tags.get(NOTE, "")
    client.set_tag(run_id, NOTE, with_note(earlier, text))


def describe_experiment(client: MlflowClient, experiment: str, text: str) -> None:
    """Set the description of an experiment."""
    earlier = client.get_experiment(experiment).tags.get(NOTE, "")
    client.set_experiment_tag(experiment, NOTE, with_note(earlier, text))


def open_as_training(client: MlflowClient, experiment: Experiment) -> None:
    """Let an experiment that was there before open as model training, unless a person has chosen otherwise."""
    ((key, value),) = TRAINING.items()
    kind = experiment.tags.get(key, "")
    if not kind or kind.endswith(("_inferred", "no_inferred_type")):  # guesses of MLflow's page
        client.set_experiment_tag(experiment.experiment_id, key, value)


def _without_credentials(text: str) -> str:
    return masked(text).replace("://***@", "://")


def _where(study: str, report: str) -> str:
    if not report:
        return _report_command(study)
    return f"[Report]({report}), also `reports/{study_folder(study)}/report.html` among the results."


def _report_command(study: str) -> str:
    return f"A report on all of the study: `{shlex.join(['python', '-m', 'transfer_exp.report', f'study={study}'])}`"


def _code(command: str) -> str:
    """A command as lines that a shell takes as one."""
    lines = [""]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    text = "\n".join(lines)
    return f"```\n{text if len(text) <= _LONGEST_COMMAND else f'{text[:_LONGEST_COMMAND]} ...'}\n```"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
