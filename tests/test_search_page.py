"""The commands of docs/search.md, each run as it is written there."""

from __future__ import annotations

import re
import shlex

import pytest
from conftest import SOURCE, Cli, runs

BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCK.findall((SOURCE / "docs" / "search.md").read_text()) for line in block.splitlines()]
QUICK = ("attack.n_walk=0", "attack.n_iter=5", "n_variability=2", "dataset.split.test=40")


def quick(words: list[str]) -> list[str]:
    """Fewer steps and points, where the data set is not part of another; a search of two trials."""
    own = [word for word in QUICK if "attackers_part" not in " ".join(words) or not word.startswith("dataset")]
    return [*own, "hydra.sweeper.n_trials=2"] if "hydra/sweeper=optuna" in words else own


def test_the_page_has_an_example_of_each_objective() -> None:
    for name in ("transfer", "robustness", "metric"):
        assert any(f"objective={name}" in command for command in COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_it_is_written(command: str, cli: Cli, root) -> None:
    if "optuna" in command:
        pytest.importorskip("optuna")
    program, words = shlex.split(command)[:3], shlex.split(command)[3:]
    assert program == ["python", "-m", "transfer_exp"]
    ended = cli(*words, *quick(words))
    assert ended.rc == 0, ended.stderr
    study = next((word.removeprefix("study=") for word in words if word.startswith("study=")), "single")
    assert {run.info.status for run in runs(root, study)} == {"FINISHED"}
    if "hydra/sweeper=optuna" in words:
        assert "best of 2 trials" in ended.stdout
