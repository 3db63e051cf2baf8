"""A hook of MkDocs: pages of the site that lie outside docs/ (README, CHANGELOG, the examples), and links between all.

    README.md -> index.md,  CHANGELOG.md -> changelog.md,  examples/X/README.md -> examples/X.md

A link is written as it works in the repository; here it is turned into one of the site. One to another file of the
repository (LICENSE, a Python file) becomes plain text. MkDocs refuses a link that leads nowhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def outside(root: Path = ROOT) -> dict[str, str]:
    """Files of the repository that are pages of the site: their path there, by their path in the repository."""
    names = sorted(file.parent.name for file in root.glob("examples/*/README.md"))
    examples = {f"examples/{name}/README.md": f"examples/{name}.md" for name in names}
    return {"README.md": "index.md", "CHANGELOG.md": "changelog.md", **examples}


def site_path(path: str, root: Path = ROOT) -> str | None:
    """Where a path of the repository lies on the site; None where it does not."""
    known = outside(root)
    if f"{path}/README.md" in known:  # a folder, which a repository's page opens on its README
        path = f"{path}/README.md"
    if path in known:
        return known[path]
    if not path.startswith("docs/"):
        return None
    page = path.removeprefix("docs/")
    return page.removesuffix(".py") + ".ipynb" if page.startswith("tutorials/") else page


def relinked(text: str, source: str, root: Path = ROOT) -> str:
    """The text of the page ``source`` (a path of the repository) with links of the site. Code is left alone."""
    here = PurePosixPath(site_path(source, root) or source).parent

    def link(found: re.Match[str]) -> str:
        image, words, to, anchor = found.groups()
        path = os.path.normpath(PurePosixPath(source).parent / to)
        page = site_path(path, root)
        if page is None and (root / path).exists() and not image:
            return words
        to = os.path.relpath(page, here) if page else to
        return f"{image}[{words}]({to}{anchor or ''})"

    parts = FENCE.split(text)
    return "".join(part if k % 2 else LINK.sub(link, part) for k, part in enumerate(parts))


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages from outside docs/."""
    from mkdocs.structure.files import File

    for source, page in outside().items():
        text = relinked((ROOT / source).read_text(encoding="utf-8"), source)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of a page of docs/ into links of the site."""
    if page.file.generated_by:
        return markdown
    return relinked(markdown, f"docs/{page.file.src_uri}")
