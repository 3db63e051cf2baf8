"""Machines: which Python the Makefile takes, what a wrong one is told, what happens where a system lacks POSIX signals."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import SMALL, SOURCE, Cli, runs

from transfer_exp.system import signals
from transfer_exp.system.signals import exit_on_signals, hold_signals

# A Python that claims a version, and to have venv or not; it makes an environment that is a copy of itself.
PYTHON = """#!/bin/sh
case "$*" in
  *"(3, 11) <= "*) [ {version} -ge 311 ] && [ {version} -le 313 ] ;;
  *"%d.%d"*) echo {version} | sed 's/^3/3./' ;;
  *ensurepip*) [ {venv} = yes ] ;;
  "-m venv"*) for last; do :; done
    case "$*" in *--clear*) rm -rf "$last" ;; esac
    mkdir -p "$last/bin"; touch "$last/pyvenv.cfg"; cp "$0" "$last/bin/python"; echo made {version} "$*" >> "$LOG" ;;
  "-m pip"*) echo "$*" >> "$LOG" ;;
esac
"""


class Machine:
    """A folder that is all of PATH but the tools of the system, and a copy of the Makefile."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for tool in ("sh", "make", "sed", "rm", "mkdir", "touch", "cp", "grep", "echo"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(SOURCE / name, folder)
        shutil.copytree(SOURCE / "tools", folder / "tools")

    def python(self, name: str, version: int, *, venv: bool = True) -> None:
        (self.bin / name).write_text(PYTHON.format(version=version, venv="yes" if venv else "no"))
        (self.bin / name).chmod(0o755)

    def setup(self, *words: str) -> tuple[int, list[str], str]:
        """``make setup``: exit status, what was made (version first), what was said of errors."""
        log = self.folder / "log"
        log.write_text("")
        environment = {"PATH": str(self.bin), "LOG": str(log)}
        done = subprocess.run(["make", "setup", *words], cwd=self.folder, env=environment, capture_output=True, text=True)
        return done.returncode, log.read_text().splitlines(), done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not shutil.which("make"):
        pytest.skip("needs make")
    return Machine(tmp_path)


CHOICES: dict[str, tuple[dict[str, tuple[int, bool]], int]] = {
    "the newest that fits": ({"python3.12": (312, True), "python3.11": (311, True), "python3": (314, True)}, 312),
    "python3 alone": ({"python3": (312, True)}, 312),
    "one with venv": ({"python3.13": (313, False), "python3.11": (311, True)}, 311),
    "none by its name alone": ({"python3.13": (314, True), "python3": (311, True)}, 311),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_makefile_takes_a_python_that_fits(machine: Machine, choice: str) -> None:
    there, expected = CHOICES[choice]
    for name, (version, venv) in there.items():
        machine.python(name, version, venv=venv)
    rc, made, _ = machine.setup()
    assert rc == 0
    assert made[0].split()[:2] == ["made", str(expected)]
    assert made[1].endswith("-c constraints.txt -e .[dev]")
    assert machine.setup()[:2] == (0, [])  # it is there


def test_where_none_fits_it_says_what_is_missing(machine: Machine) -> None:
    machine.python("python3.11", 311, venv=False)
    machine.python("python3", 314)
    rc, made, said = machine.setup()
    assert (rc, made) == (2, [])
    line = next(line for line in said.splitlines() if line.startswith("error: "))
    for words in ("expected a Python from 3.11 to 3.13", "no python3.13, no python3.12", "python3 of version 3.14"):
        assert words in line
    assert "python3.11 without venv (on Debian and Ubuntu: apt install python3.11-venv)" in line


def test_an_environment_of_another_version_is_made_anew(machine: Machine) -> None:
    machine.python("python3.11", 311)
    machine.setup()
    machine.python("python3.12", 312)
    assert machine.setup()[1] == []  # a newer one is no reason
    assert machine.setup("PYTHON=python3.11")[1] == []
    (again, _) = machine.setup("PYTHON=python3.12")[1]
    assert again.startswith("made 312 -m venv --clear")
    machine.python("../.venv/bin/python", 314)  # the system's Python went on
    (again, _) = machine.setup()[1]
    assert again.startswith("made 312 -m venv --clear")
    (machine.folder / ".venv" / "bin" / "python").unlink()  # or away
    assert machine.setup()[1][0].startswith("made 312 -m venv --clear")


def test_a_folder_that_is_no_environment_is_never_emptied(machine: Machine) -> None:
    machine.python("python3.11", 311)
    (machine.folder / "mine").mkdir()
    (machine.folder / "mine" / "work").touch()
    assert machine.setup("VENV=mine")[1][0] == "made 311 -m venv mine"
    assert (machine.folder / "mine" / "work").is_file()


def test_bounds_on_python_agree_wherever_they_stand() -> None:
    bounds = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["requires-python"]
    workflow = (SOURCE / ".github" / "workflows" / "ci.yml").read_text()
    assert bounds == ">=3.11,<3.14"
    assert re.findall(r'"(3\.\d+)"', workflow) == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize("version", [(3, 14, 0), (3, 10, 9)])
def test_a_python_that_does_not_fit_is_told_in_a_line(
    cli: Cli, root: Path, version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, "final", 0))
    ended = cli(*SMALL)
    monkeypatch.undo()
    assert ended.rc == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        f"error: python: expected 3.11 to 3.13 (hydra-core 1.3 runs on no newer one), got {version[0]}.{version[1]}."
    )
    assert runs(root) == []


def test_without_posix_signals_a_combination_runs_all_the_same(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("transfer_exp.cli.sweep")  # libraries, which have ways of their own, are imported before
    for owner, name in (
        (signal, "pthread_sigmask"),
        (signal, "SIG_BLOCK"),
        (signal, "SIG_SETMASK"),
        (os, "register_at_fork"),
    ):
        monkeypatch.delattr(owner, name)
    monkeypatch.setattr(signal, "set_wakeup_fd", None)  # Windows has one, for sockets
    signals._start_watching.cache_clear()
    exit_on_signals()
    hold_signals()()
    assert cli(*SMALL).rc == 0
    signals._start_watching.cache_clear()
    assert [run.info.status for run in runs(root, kind="combination")] == ["FINISHED"]
