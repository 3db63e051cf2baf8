"""Names that are not there: the nearest one is offered, and every command says so in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli

from transfer_exp.cli.checking import main as check
from transfer_exp.cli.unknown import nearest

KNOWN = ["svm_high", "svm_low", "mlp_high", "ridge_high", "mnist89"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mlp_hgih", ["mlp_high"]),  # and not svm_high, which is less like it
        ("mnst89", ["mnist89"]),
        ("svm", ["svm_high", "svm_low"]),
        ("MNIST89", ["mnist89"]),
        ("forest_high", []),  # of these it is none
        ("", []),
    ],
)
def test_the_nearest_name_is_the_one_that_is_meant(name: str, near: list[str]) -> None:
    assert nearest(name, KNOWN) == near


def test_a_file_that_names_what_is_not_there_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "own" / "target" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults:\n  - /learner/predictr@_here_\n")
    ended = cli(f"--config-dir={tmp_path / 'own'}", "target=mine")
    assert ended.rc == 1
    assert ended.stderr == "error: In 'target/mine': Could not load 'learner/predictr'.\n"


def test_commands_beside_the_runs_say_it_as_they_say_all_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(["target=mlp_hgih"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: target: expected one of mlp_high, bagged, cnn, ")
    assert said.count("\n") == 1
