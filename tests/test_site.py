"""The site's pages: links of the repository become links of the site; what Chromium is asked to find in them, it finds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from check_site import look
from conftest import SOURCE
from pages import outside, relinked, site_path


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("README.md", "[a](docs/report.md#factors)", "[a](report.md#factors)"),
        ("README.md", "[a](docs/results/paths.md) ![b](docs/images/x.png)", "[a](results/paths.md) ![b](images/x.png)"),
        ("README.md", "[a](docs/tutorials/paper.py)", "[a](tutorials/paper.ipynb)"),
        ("docs/results/paths.md", "![a](../images/x.png) [b](../paper.md)", "![a](../images/x.png) [b](../paper.md)"),
        ("docs/results/index.md", "[a](../../examples/cifar_resnets/README.md)", "[a](../examples/cifar_resnets.md)"),
        ("docs/commands.md", "[a](../examples/cifar_resnets)", "[a](examples/cifar_resnets.md)"),
        ("README.md", "[a](LICENSE), [b](https://example.org)", "a, [b](https://example.org)"),
        ("README.md", "[a](nowhere.md)", "[a](nowhere.md)"),
        ("README.md", "```\n[a](docs/report.md)\n```\n", "```\n[a](docs/report.md)\n```\n"),
    ],
)
def test_links_are_turned_into_those_of_the_site(source: str, text: str, expected: str) -> None:
    assert relinked(text, source) == expected


def test_every_page_of_the_repository_has_its_place_in_the_navigation() -> None:
    nav = (SOURCE / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = set(re.findall(r"[\w/]+\.(?:md|ipynb)", nav))
    pages = {
        str(file.relative_to(SOURCE)) for pattern in ("docs/**/*.md", "docs/tutorials/*.py") for file in SOURCE.glob(pattern)
    }
    assert {site_path(page) for page in (*pages, *outside())} <= named


def test_links_between_pages_lead_to_files() -> None:
    pages = [
        SOURCE / "README.md",
        *SOURCE.glob("docs/**/*.md"),
        *SOURCE.glob("examples/*/README.md"),
        SOURCE / "CHANGELOG.md",
    ]
    links = [(page, to) for page in pages for to in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())]
    assert len(links) > 60
    assert not [(page.name, to) for page, to in links if not (page.parent / to).exists()]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_faults_of_a_page_are_seen(tmp_path: Path) -> None:
    head = "<!doctype html><meta charset=utf-8><body style='margin:0'>"
    planted = {
        "wide": "<p style='width:1500px'>wide</p>",
        "boxed": "<div style='overflow-x:auto'><p style='width:1500px'>in a box that scrolls</p></div>",
        "cut": "<p style='width:100px;overflow:hidden;white-space:nowrap'>a label that is longer than its place</p>",
        "covered": "<p>below</p><div style='position:absolute;top:0;width:100%;height:80px;background:white'>above</div>",
        "lost": "<img src='nowhere.png'>",
        "fine": "<p>fine</p>",
    }
    for name, body in planted.items():
        (tmp_path / f"{name}.html").write_text(head + body)
    found, seen = look(tmp_path)
    assert len(seen) == 2 * len(planted)
    faulty = {line.partition(".html")[0] for line in found if "favicon" not in line}
    assert faulty == {"wide", "cut", "covered", "lost"}, found
