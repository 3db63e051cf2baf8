"""The recipes of docs/extending.md, each run as it is written there, in a folder outside the package."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from conftest import SOURCE, Cli, runs

from transfer_exp.report.__main__ import main as report

TEXT = (SOURCE / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUICK = ["attack.n_iter=2", "attack.n_walk=0", "n_variability=2", "dataset.split.test=20"]


def recipes() -> dict[str, list[tuple[str, str]]]:
    """Blocks (kind, content) by section."""
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    return {text.splitlines()[0]: BLOCK.findall(text) for text in sections}


RECIPES = recipes()


def test_there_are_as_many_recipes_as_parts_of_a_study() -> None:
    assert len(RECIPES) >= 6


def commands(content: str) -> list[list[str]]:
    return [shlex.split(line) for line in content.replace("\\\n", " ").splitlines() if line.strip()]


def write(blocks: list[tuple[str, str]], folder: Path) -> None:
    """The files of a recipe: their first line says where they lie."""
    for kind, content in blocks:
        if kind:
            file = folder / content.splitlines()[0].removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n == "A claim" else []) for n in RECIPES])
def test_a_recipe_works_as_it_is_written(name: str, cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root.parent / "mine"
    for blocks in RECIPES.values():  # one folder holds them all, as in the text
        write(blocks, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    (typed,) = [content for kind, content in RECIPES[name] if not kind]
    done = 0
    for words in commands(typed):
        if words[:3] == ["python", "-m", "transfer_exp"]:
            own_attack = any(word.startswith("attack=") for word in words)
            quick = [word for word in QUICK if not (own_attack and word.startswith("attack."))]
            ended = cli(*words[3:], *(quick if "-m" not in words[3:] else []))
            assert ended.rc == 0, ended.stderr
            done += 1
        elif words[:3] == ["python", "-m", "transfer_exp.report"]:
            assert report(words[3:]) == 0
        elif words[:2] != ["python", "-m"]:
            runpy.run_path(words[1], run_name="__main__")
    assert done
    made = [run for study in ("single", "mine") for run in runs(root, study)]
    assert len(made) >= done
    assert {run.info.status for run in made} == {"FINISHED"}
    for module in {Path(p).stem for p in map(str, folder.glob("*.py"))}:
        sys.modules.pop(module, None)
