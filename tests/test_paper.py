"""Whoever reads "(paper, section 4.2)" anywhere finds that section on docs/paper.md, in a clone as in the sdist."""

from __future__ import annotations

import re
import tomllib

from conftest import SOURCE

HEADINGS = set(
    re.findall(r"^#+ (\d(?:\.\d)?)\.? ", (SOURCE / "docs" / "paper.md").read_text(encoding="utf-8"), re.MULTILINE)
)
NUMBER = r"\d(?:\.\d)?"
REFERENCE = re.compile(rf"paper(?:\.md)?,? \(?(?:sections? )?({NUMBER}(?:(?:, | and )(?:{NUMBER}))*)(?![\d.]*\d)")
READ = (
    "transfer_exp/**/*.py",
    "hydra_plugins/*.py",
    "tests/*.py",
    "benchmarks/*.py",
    "conf/**/*.yaml",
    "*.md",
    "docs/**/*.md",
)


def references(text: str) -> list[str]:
    return [number for found in REFERENCE.findall(text) for number in re.findall(NUMBER, found)]


def test_references_are_seen() -> None:
    text = "(paper, section 4.2) (paper, sections 4.3 and 4.4) (paper.md, 4.1) paper.md, section 2; the paper (section 5)"
    assert references(text) == ["4.2", "4.3", "4.4", "4.1", "2", "5"]


def test_every_reference_to_the_paper_is_a_section_of_the_page_that_is_shipped() -> None:
    found = {
        (str(file.relative_to(SOURCE)), number)
        for pattern in READ
        for file in SOURCE.glob(pattern)
        if file.name != "test_paper.py"
        for number in references(file.read_text(encoding="utf-8"))
    }
    assert len(found) > 20
    assert not {(file, number) for file, number in found if number not in HEADINGS}


def test_the_page_is_in_the_source_distribution_and_named_in_the_readme() -> None:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))
    assert "docs" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert "](docs/paper.md)" in (SOURCE / "README.md").read_text(encoding="utf-8")
