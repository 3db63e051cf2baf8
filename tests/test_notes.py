"""Descriptions: what a person wrote stays, commands can be typed again, credentials are nowhere."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from transfer_exp.tracking import notes


def test_a_description_is_replaced_and_the_words_of_a_person_stay() -> None:
    first = notes.with_note("", "one")
    assert first.startswith("one\n")  # lists show the beginning
    assert notes.with_note(first, "two") == notes.with_note("", "two")
    mine = first + "\n\nmine: do not trust seed 3"
    again = notes.with_note(mine, "two")
    assert "one" not in again
    assert again.startswith("two")
    assert again.endswith("mine: do not trust seed 3")
    assert notes.with_note(again, "two") == again
    assert notes.with_note("all mine", "two").endswith("all mine")


@pytest.mark.parametrize("secret", ["me:word@", "me:p@ss/word@", "token@"])
def test_credentials_in_an_address_are_left_out(secret: str) -> None:
    word = f"tracking.uri=https://{secret}host:5000/x"
    assert shlex.split(notes.command_line([word, "seed=1"])) == [
        *("python", "-m", "transfer_exp"),
        *("tracking.uri=https://host:5000/x", "seed=1"),
    ]
    assert (
        notes.page(f"https://{secret}host:5000/", "7")
        == "https://host:5000/#/experiments/7/runs?workflowType=machine_learning"
    )


def test_an_address_without_credentials_and_other_words_stay_as_they_are() -> None:
    words = ["tracking.uri=http://host:5000/a", "dataset.split={target: 5}", "dataset.name=a@b"]
    assert shlex.split(notes.command_line(words))[3:] == words
    assert notes.page("sqlite:////tmp/x/mlflow.db", "7").startswith("http://127.0.0.1:5000/#/experiments/7/")


def test_one_combination_of_an_experiment_is_made_again_alone() -> None:
    text = notes.of_combination("a > b", "sentence", ["resume=False", "experiment=x", "seed=1"], study="x", parent="#/there")
    assert "\npython -m transfer_exp experiment=x seed=1 resume=false hydra.mode=RUN\n" in text
    assert "(#/there)" in text


def test_a_command_of_any_length_fits() -> None:
    words = [f"epsilon.grid={list(range(3000))}"]
    assert len(notes.of_combination("a > b", "sentence", words, study="x", parent=None)) < notes.LONGEST


def test_a_long_command_is_broken_into_lines_that_a_shell_takes_as_one() -> None:
    words = ["dataset.split={target: 500, surrogate: 500}", *(f"word{k}={'x' * k}" for k in range(25))]
    text = notes.of_sweep("x", "5 combinations", notes.command_line(words)).split("```")[1].strip()
    assert max(map(len, text.splitlines())) <= 77
    said = subprocess.run(
        ["sh", "-c", text.replace("python -m", "printf '%s\n'")], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[1:] == words


def test_secrets_of_the_environment_are_in_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
    text = notes.of_combination("a > b", "sentence", ["+token=sesame"], study="x", parent=None)
    assert "sesame" not in text


def test_the_report_of_a_study_with_a_slash_lies_in_one_folder() -> None:
    assert "`reports/a%2Fb/report.html`" in notes.of_sweep("a/b", "5 combinations", "command", report="#/there")
