"""The commands that README and docs show, by page: of blocks of a shell (or of no language), and in sentences."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"(make [a-z0-9-]|(\.venv/bin/)?python -m |(\.venv/bin/)?pip |uv |sh tools/|(\.venv/bin/)?mlflow )")
SHELL = ("", "bash", "sh")
SPAN = re.compile(r"`((?:make|python|pip|uv|sh|\.venv/bin/\w+) [^`]+)`")


class Command(NamedTuple):
    """A command as it is typed, and the page that shows it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"

    @property
    def module(self) -> str:
        """The module that ``python -m`` runs; empty where none is."""
        return self.words[2] if len(self.words) > 2 and self.words[0].endswith("python") and self.words[1] == "-m" else ""


def pages(source: Path) -> list[Path]:
    """All pages with commands: README, docs/ and the examples' own."""
    return sorted(chain([source / "README.md"], source.glob("docs/**/*.md"), source.glob("examples/*/README.md")))


def commands(page: Path, source: Path) -> Iterator[Command]:
    """The commands of one page."""
    text = page.read_text(encoding="utf-8")
    shown = [content for kind, content in BLOCK.findall(text) if kind in SHELL]
    lines = [line for content in shown for line in content.replace("\\\n", " ").splitlines()]
    lines += [" ".join(span.split()) for span in SPAN.findall(BLOCK.sub("", text))]
    for line in lines:
        if PROGRAM.match(line) and not line.endswith("="):
            yield Command(str(page.relative_to(source)), tuple(shlex.split(line, comments=True)))
