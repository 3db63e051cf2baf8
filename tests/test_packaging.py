"""What stands beside the package says the same as the package: version, citation, container, templates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from conftest import SOURCE

import transfer_exp

PROSE = ("CONTRIBUTING.md", "SECURITY.md", "docs/points.md")


def test_the_citation_is_of_this_version_and_names_the_study() -> None:
    cited = yaml.safe_load((SOURCE / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(cited)
    assert cited["version"] == transfer_exp.__version__
    assert cited["license"] in (SOURCE / "pyproject.toml").read_text()
    (study,) = cited["references"]
    names = [f"{one['given-names']} {one['family-names']}" for one in study["authors"]]
    assert ", ".join(names) in (SOURCE / "docs" / "paper.md").read_text().replace("\n", " ")


def test_the_container_is_made_of_what_is_here_and_runs_as_no_root() -> None:
    lines = [line.split() for line in (SOURCE / "Dockerfile").read_text().splitlines() if line and line[0] not in "# "]
    words = [line[0] for line in lines]
    assert words[0] == "FROM"
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert lines[words.index("USER")][1] not in ("root", "0")
    installed = [line for line in lines if line[:3] == ["RUN", "pip", "install"]]
    assert installed
    assert all("constraints.txt" in line for line in installed)
    copied = {name for line in lines if line[0] == "COPY" for name in line[1:-1]}
    kept = {line[1:] for line in (SOURCE / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    assert [name for name in copied if not (SOURCE / name).exists()] == []
    assert {"transfer_exp", "hydra_plugins", "conf", "pyproject.toml", "constraints.txt"} <= copied


@pytest.mark.parametrize("file", sorted((SOURCE / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.stem)
def test_issue_templates_ask_for_something(file: Path) -> None:
    form = yaml.safe_load(file.read_text())
    if file.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    assert len({one["id"] for one in fields}) == len(fields) > 0
    assert all(one["attributes"]["label"] for one in fields)


@pytest.mark.parametrize("name", PROSE)
def test_pages_name_files_and_targets_that_exist(name: str) -> None:
    text = (SOURCE / name).read_text()
    links = [one for one in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in one]
    assert [one for one in links if not (SOURCE / name).parent.joinpath(one).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (SOURCE / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    modules = set(re.findall(r"python -m (transfer_exp[\w.]*)", text))
    assert [one for one in modules if not (SOURCE / f"{one.replace('.', '/')}.py").exists() and one != "transfer_exp"] == []
