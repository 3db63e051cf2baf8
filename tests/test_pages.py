"""Every command that README and docs show: makefile targets and extras are there, words compose, and the quick ones run.

Recipes of docs/extending.md are run by test_extending.py; what needs files of a user's is composed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest
import shown_commands as reader
from conftest import SOURCE, Cli
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from transfer_exp.cli import exporting
from transfer_exp.report.__main__ import options, settings

PAGES = reader.pages(SOURCE)
COMMANDS = [command for page in PAGES for command in reader.commands(page, SOURCE)]
ELSEWHERE = {
    "docs/extending.md",
    "docs/audit.md",
    "docs/search.md",
}  # test_extending.py, test_audit_docs.py, test_search_page.py
EXTRAS = re.compile(r"(?:transfer-exp|-e '?\.|'\.)\[([\w,]+)\]")
BLOCK = re.MULTILINE | re.DOTALL
LAUNCHERS = {"slurm": "submitit", "ray_workers": "ray", "submitit": "submitit"}


def of(*modules: str) -> list[reader.Command]:
    return [command for command in COMMANDS if command.module in modules]


def test_commands_are_found() -> None:
    assert len(PAGES) > 15
    assert len(COMMANDS) > 40
    assert len(of("transfer_exp")) > 12
    assert {command.page for command in COMMANDS} >= {"README.md", "docs/commands.md", "docs/results/drebin215.md"}


def test_every_make_target_and_variable_is_one_of_the_makefile() -> None:
    text = (SOURCE / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", text, re.MULTILINE))
    variables = {"JOBS", "ARGS", "VENV", "PYTHON"}
    seen = [command for command in COMMANDS if command.words[0] == "make"]
    assert len({command.words[1] for command in seen}) > 10
    for command in seen:
        for word in command.words[1:]:
            name, is_set, _ = word.partition("=")
            assert name in (variables if is_set else targets), str(command)


def test_what_is_installed_are_extras_of_this_project() -> None:
    extras = set(tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    found = [names for page in PAGES for names in EXTRAS.findall(page.read_text())]
    named = {extra for names in found for extra in names.split(",")}
    assert len(named) >= 4
    assert named <= extras


def first_values(words: Iterable[str]) -> list[str]:
    """The words of a sweep's first job: of every choice, glob or range the first value."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    first = []
    for one in parser.parse_overrides(list(words)):
        name = one.input_line.partition("=")[0]
        first.append(f"{name}={next(one.sweep_string_iterator())}" if one.is_sweep_override() else one.input_line)
    return first


def composed(command: reader.Command) -> DictConfig:
    words = [word for word in command.words[3:] if word != "-m"]
    own = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    folder = (SOURCE / command.page).parent / own[0] if own else None
    words = [word for word in words if not word.startswith("--")]
    launcher = [LAUNCHERS.get(word.partition("=")[2], "hydra") for word in words if word.startswith("hydra/launcher=")]
    if launcher and find_spec(launcher[0]) is None:  # an extra that is not installed: the rest of the words
        words = [word for word in words if not word.startswith(("hydra/launcher", "hydra.launcher"))]
    with initialize_config_dir(str(SOURCE / "conf"), version_base="1.3"):
        path = [f"hydra.searchpath=[file://{folder}]"] if folder else []
        return compose("config", [*first_values(words), *path], return_hydra_config=True)


def needs_own_files(command: reader.Command) -> bool:
    """Of the user's: test_extending.py runs such."""
    return command.page in ELSEWHERE or "=mine" in " ".join(command.words) or set(command.words[3:]) <= {"--help"}


COMPOSED = [command for command in of("transfer_exp", "transfer_exp.check") if not needs_own_files(command)]


@pytest.mark.parametrize("command", COMPOSED, ids=str)
def test_the_words_of_a_command_compose(command: reader.Command) -> None:
    config = composed(command)
    for word in command.words[3:]:
        name, _, value = word.lstrip("+").partition("=")
        if re.fullmatch(r"seed|n_variability|threads|device", name) and value.isalnum():
            assert str(config[name]) == value


@pytest.mark.parametrize("command", of("transfer_exp.report"), ids=str)
def test_the_words_of_a_report_are_known(command: reader.Command) -> None:
    given = options([word for word in command.words[3:] if not word.startswith("-")])
    assert settings(given["where"]) if "where" in given else True


@pytest.mark.parametrize("command", [one for one in of("transfer_exp.export") if one.words[3:]], ids=str)
def test_the_words_of_an_export_are_known(command: reader.Command) -> None:
    known = set(re.findall(r"(\w+)=", exporting.HELP))
    assert {word.partition("=")[0] for word in command.words[3:]} <= known


@pytest.mark.parametrize("command", [one for one in of("transfer_exp.evaluate") if one.words[3:]], ids=str)
def test_the_words_of_a_showing_compose(command: reader.Command) -> None:
    own, others = [], []
    for word in command.words[3:]:
        (own if word.startswith(("points=", "csv=", "json=")) else others).append(word)
    assert any(word.startswith("points=") for word in own)
    assert composed(command._replace(words=(*command.words[:3], *others)))


def test_what_python_runs_is_a_module_of_the_package() -> None:
    for command in COMMANDS:
        assert command.module in ("", "venv") or find_spec(command.module), str(command)


LESS = ("n_variability=2", "dataset.split.test=20")
OF_MNIST = ("dataset.split.target=300", "dataset.split.surrogate=300")
QUICK = {
    "evasion": ("attack.n_iter=2", "attack.n_walk=0"),
    "poisoning": ("attack.n_iter=2", "attack.n_rounds=1"),
    "mifgsm": ("attack.n_gradients=6",),
    "pgd": ("attack.n_gradients=2",),
}
FEW_POISONED = (
    "dataset.split={target: 40, surrogate: 40, validation: 40, test: 20}",
    "epsilon.grid=[0,0.1]",
    "epsilon.reference=0.1",
    "epsilon.shown=[0.1]",
)
RUN_PAGES = (
    *("README.md", "docs/commands.md", "docs/data.md", "docs/measures_networks.md", "docs/training.md"),
    *("docs/transfer_attacks.md", "docs/poisoning.md", "docs/poisoning_networks.md", "docs/poisoning_defences.md"),
)
RUN = [c for c in COMPOSED if c.module == "transfer_exp" and c.page in RUN_PAGES and "experiment=" not in " ".join(c.words)]
REAL = ("mnist", "drebin215", "lfw")


def marks(command: reader.Command) -> list[pytest.MarkDecorator]:
    return [pytest.mark.data] if any(f"dataset={name}" in word for word in command.words for name in REAL) else []


def own_files(folder: Path) -> None:
    """What the commands of the pages name as the user's."""
    make = """
import numpy as np
from my_nets import Net
from safetensors.torch import save_file

y = np.arange(300) % 2
np.savez("my.npz", X=np.random.default_rng(0).normal(0, 100, (300, 6)) + 80 * y[:, None], y=y)
save_file(Net((1, 8, 8), 2).state_dict(), "net.safetensors")
"""
    text = (SOURCE / "docs" / "extending.md").read_text()
    (code,) = re.findall(r"^```python\n# my_nets.py\n(.*?)^```", text, BLOCK)
    (folder / "my_nets.py").write_text(code)
    (folder / "my_service.py").write_text("def ask(points):\n    return (points.mean(axis=1) > 0.3).astype(int)\n")
    subprocess.run([sys.executable, "-c", make], cwd=folder, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("command", [pytest.param(c, marks=marks(c), id=str(c)) for c in RUN])
def test_a_command_runs(command: reader.Command, cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is written, but smaller; of a sweep the first combination."""
    folder = root.parent / "mine"
    folder.mkdir()
    own_files(folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    with initialize_config_dir(str(SOURCE / "conf"), version_base="1.3"):
        words = first_values(word for word in command.words[3:] if word != "-m")
    attack = next((word.partition("=")[2] for word in words if word.startswith("attack=")), "evasion")
    smaller = [*QUICK.get(attack, ()), *LESS, *(OF_MNIST if "dataset=mnist" in words else ())]
    if "epsilon=poisoning" in words:
        words = [word for word in words if not word.startswith(("dataset.split", "epsilon."))]
        smaller = [*QUICK.get(attack, ()), *FEW_POISONED, LESS[0]]
    ended = cli(*words, *smaller)
    assert ended.rc == 0, ended.stderr
    for name in ("my_nets", "my_service"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_the_notebook_snippet_runs(tmp_path: Path) -> None:
    text = (SOURCE / "docs" / "commands.md").read_text()
    (snippet,) = re.findall(r"^```python\n(from transfer_exp import.*?)^```", text, BLOCK)
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stdout


def notebooks() -> list[Path]:
    found = sorted((SOURCE / "docs" / "tutorials").glob("*.ipynb"))
    assert len(found) == 4
    return found


@pytest.mark.parametrize("notebook", notebooks(), ids=lambda file: file.stem)
def test_a_notebook_is_that_of_its_source_and_ran_to_its_end(notebook: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    parts = re.split(r"^# %%(.*)\n", notebook.with_suffix(".py").read_text(), flags=re.MULTILINE)
    written = [text.strip() for kind, text in zip(parts[1::2], parts[2::2], strict=True) if "markdown" not in kind]
    assert code == written
    ran = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert ran == list(range(1, len(code) + 1))
    assert not [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "error"]


def test_readme_is_a_front_page() -> None:
    assert len((SOURCE / "README.md").read_text().splitlines()) <= 150
