"""What the pages say of studies and options: numbers of combinations, choices of groups, files of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import shown_commands as reader
from conftest import SOURCE
from test_config import CONF, choices
from test_network_studies import STUDIES, combinations

from transfer_exp.report.claims import CLAIMS

PAGES = reader.pages(SOURCE)
GROUPS = (
    "attack",
    "dataset",
    "epsilon",
    "experiment",
    "hyperparameters",
    "measures",
    "objective",
    "strength",
    "surrogate",
    "target",
)
OWN = {"mine", "one", "other", "a", "b"}
"""Names that pages use for what is the reader's."""
SIZE = re.compile(r"([\d,]+) combinations")
WRITTEN_ELSEWHERE = {"audit", *STUDIES}
"""An audit's size depends on its target; of the studies of networks test_network_studies.py has it."""


def said(text: str) -> int | None:
    """The first number of combinations in a text."""
    found = SIZE.search(text)
    return int(found[1].replace(",", "")) if found else None


def header(study: str) -> int | None:
    """The number of combinations that an experiment's file says it has."""
    return said((CONF / "experiment" / f"{study}.yaml").read_text().partition("\ndefaults:")[0])


@pytest.mark.parametrize("study", [name for name in choices("experiment") if name not in WRITTEN_ELSEWHERE])
def test_an_experiment_has_as_many_combinations_as_its_file_says(study: str) -> None:
    assert len(combinations(study)) == header(study)


def test_the_makefile_says_the_same() -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## (.*)", (SOURCE / "Makefile").read_text(), re.MULTILINE)
    sizes = {name: said(text) for name, text in targets if said(text)}
    assert len(sizes) > 15
    assert sizes == {name: header(name.replace("-", "_")) for name in sizes}


def rows() -> Iterator[tuple[str, str, int]]:
    """Page, study and size of each table row with a study's command, where the table has a column of sizes."""
    for page in PAGES:
        for table in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
            titles, _, *lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
            for cells in lines if "combinations" in titles else ():
                names = re.findall(r"`(?:make |experiment=)?([a-z0-9_-]+)`", " ".join(cells))
                size = re.match(r"[\d,]+", cells[titles.index("combinations")])
                for name in names if size else ():
                    if (CONF / "experiment" / f"{name.replace('-', '_')}.yaml").exists():
                        yield page.name, name.replace("-", "_"), int(size[0].replace(",", ""))


def test_tables_of_the_pages_say_the_same() -> None:
    found = list(rows())
    assert len(found) > 15
    assert [row for row in found if row[2] != header(row[1])] == []


def chosen() -> Iterator[tuple[str, str, str]]:
    """Page, group and choice of every ``group=choice`` in the commands and code words of the pages."""
    word = re.compile(rf"(?<![\w./@-])({'|'.join(GROUPS)})=([\w\[][\w,\[\]]*)(?![\w(:])")
    for page in PAGES:
        text = page.read_text()
        blocks = [content for kind, content in reader.BLOCK.findall(text) if kind in reader.SHELL]
        for code in [*blocks, *re.findall(r"`([^`]+)`", reader.BLOCK.sub("", text))]:
            for group, names in word.findall(code):
                for name in names.strip("[]").split(","):
                    yield page.name, group, name


def own_choices() -> set[str]:
    """Choices that the pages, or the folders of the examples, define: ``conf/<group>/<choice>.yaml``."""
    shown = {name for page in PAGES for name in re.findall(r"conf/\w+/(\w+)\.yaml", page.read_text())}
    return shown | {file.stem for file in SOURCE.glob("examples/*/conf/**/*.yaml")}


def test_choices_that_the_pages_name_are_there() -> None:
    found = set(chosen())
    own = own_choices() | OWN
    assert len(found) > 80
    assert [one for one in found if one[2] not in own and not (CONF / one[1] / f"{one[2]}.yaml").exists()] == []


def test_files_of_the_repository_that_the_pages_name_are_there() -> None:
    named = {
        (page, name) for page in PAGES for name in re.findall(r"`((?:[a-z_]+/)+\w+\.(?:py|yaml|md|toml))`", page.read_text())
    }
    assert len(named) > 30
    roots = (SOURCE, SOURCE / "transfer_exp")
    own = re.compile(r"conf/\w+/\w+\.yaml")  # in the reader's folder, where the package has none
    missing = [
        (page.name, name) for page, name in named if not any((root / name).exists() for root in (*roots, Path(page).parent))
    ]
    assert [one for one in missing if not own.fullmatch(one[1])] == []


def test_readme_says_how_many_claims_there_are() -> None:
    own = sum(claim.source == "this suite" for claim in CLAIMS)
    assert f"{len(CLAIMS) - own} published ones and {own} questions of this suite" in (SOURCE / "README.md").read_text()
