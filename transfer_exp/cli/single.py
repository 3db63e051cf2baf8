"""What one combination without a sweep shows when it has ended: the target's errors, and where the run is."""

from __future__ import annotations

import json

from mlflow.entities import Run

from transfer_exp.scenarios.words import words_of
from transfer_exp.system.commands import ui_command
from transfer_exp.tracking import connecting, notes

_BESIDE = {"noise_error": "under noise", "whitebox_error": "with full access"}


def told(run: Run, tracking_uri: str) -> str:
    """Two lines on a finished run."""
    return f"{_errors(run)}\n{_place(run, tracking_uri)}"


def _errors(run: Run) -> str:
    """Errors at the chosen strengths, and beside them those of the control and, where there is one, of the white box."""
    metrics, params, words = run.data.metrics, run.data.params, words_of(run.data.tags.get("scenario", ""))
    shown = [float(epsilon) for epsilon in json.loads(params["epsilon.shown"])]
    errors = [f"{_percent(metrics[f'error_at_{epsilon:g}'])} at {words.strength(epsilon)}" for epsilon in shown]
    parts = [f"{words.error} of {params['target']} by attacks made on {params['surrogate']}: {', '.join(errors)}"]
    for name, heading in _BESIDE.items():
        known = [metrics[f"{name}_at_{epsilon:g}"] for epsilon in shown if f"{name}_at_{epsilon:g}" in metrics]
        if known:
            parts.append(f"{heading} {', '.join(map(_percent, known))}")
    parts.append(f"without attack {_percent(metrics['clean_error'])}")
    return "; ".join(parts)


def _place(run: Run, tracking_uri: str) -> str:
    start = "" if connecting.is_server(tracking_uri) else f"{ui_command()}, then "
    page = notes.page_of_run(tracking_uri, run.info.experiment_id, run.info.run_id)
    folder = str(run.info.artifact_uri).partition("file://")[2]
    return f"MLflow's page of it: {start}{page}" + (f"; its files: {folder}" if folder else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
