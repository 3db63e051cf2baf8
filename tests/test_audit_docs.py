"""The commands of docs/audit.md, each run as it is written there, with less of everything; and the page in a browser."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SOURCE, Cli

TEXT = (SOURCE / "docs" / "audit.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = [body.strip() for kind, body in BLOCK.findall(TEXT) if not kind and body.startswith("python")]
LESS = (
    *("seed=0,1,2", "dataset.split.test=30", "strength.evasion.n_iter=3", "strength.evasion.n_gradients=3"),
    *(
        "audit.panel=[ridge_high,logistic_low]",
        "audit.of_images=[]",
        "audit.shares=[1.0,0.2]",
        "epsilon.shares=[0,0.16,0.3]",
    ),
    "epsilon.shown_shares=[0.16]",
    "hydra/launcher=basic",  # workers of an earlier test would keep its environment
)


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with all files that the page names, and data."""
    folder = root.parent / "mine"
    for kind, body in BLOCK.findall(TEXT):
        name = body.splitlines()[0].removeprefix("# ")
        if kind or name == "rows.txt":
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(body if kind else body.partition("\n")[2])
    random, y = np.random.default_rng(0), np.arange(240) % 3
    np.savez(folder / "my.npz", X=random.normal(size=(240, 5)) + y[:, None], y=y)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for module in ("rules", "my_net"):
        sys.modules.pop(module, None)


def page_of(command: str, cli: Cli) -> Path:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "transfer_exp"]
    ended = cli(*words[3:], *LESS)
    assert ended.rc == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("Audit:")]
    return Path(line.removeprefix("Audit:").strip())


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_it_is_written(command: str, cli: Cli, folder: Path) -> None:
    text = page_of(command, cli).read_text()
    assert "How exposed is" in text
    assert ("What the model was trained on is unknown" in text) == (
        "target=rules" in command and "target_rows" not in command
    )
    assert ("Which of them is safer?" in text) == ("audit.compare" in command)
    if "target_rows" in command:
        assert "The rows that the model was trained on are those that the command names (10 rows" in text


def test_there_is_a_command_for_each_kind_of_use() -> None:
    assert len(COMMANDS) == 5


MEASURE = """
<script>
function looks(doc, width) {
  const wrong = [];
  if (doc.documentElement.scrollWidth > width + 1) wrong.push("wider than the screen: " + doc.documentElement.scrollWidth);
  for (const cell of doc.querySelectorAll("th, td, p, li, h1, h2, h3, figcaption, dd")) {
    if (cell.scrollWidth > cell.clientWidth + 1 && cell.clientWidth) wrong.push("cut: " + cell.textContent.slice(0, 40));
  }
  const blocks = [...doc.querySelectorAll("h1, h2, h3, p, ul, figure, .wide, dl")].filter(b => !b.closest("ul ul, td"));
  blocks.forEach((a, i) => blocks.slice(i + 1).forEach(b => {
    if (a.contains(b) || b.contains(a)) return;
    const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (across > 1 && down > 1) wrong.push("overlap: " + a.tagName + " " + b.tagName + " " + b.textContent.slice(0, 30));
  }));
  for (const image of doc.images) if (!image.complete || !image.naturalWidth) wrong.push("image not shown");
  return wrong;
}
window.onload = () => setTimeout(() => {
  const found = {};
  document.querySelectorAll("iframe").forEach(frame => {
    found[frame.width] = looks(frame.contentDocument, Number(frame.width));
  });
  document.title = "measured";
  document.body.dataset.found = JSON.stringify(found);
}, 300);
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_page_fits_screens_and_paper(cli: Cli, folder: Path, tmp_path: Path) -> None:
    """On a desktop, on a phone and in print nothing is cut, overlaps or is wider than the screen."""
    page = page_of(COMMANDS[2], cli)  # of two models: the widest
    text = page.read_text().replace("&", "&amp;").replace('"', "&quot;")
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{text}"></iframe>' for width in (1280, 390))
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{frames}{MEASURE}</body>")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    dump = [*browser, "--virtual-time-budget=5000", "--dump-dom", wrapper.as_uri()]
    dom = subprocess.run(dump, capture_output=True, text=True, timeout=300, check=True).stdout
    (found,) = re.findall(r'data-found="([^"]*)"', dom)
    assert found.replace("&quot;", '"') == '{"390":[],"1280":[]}'
    paper = tmp_path / "page.pdf"
    subprocess.run([*browser, f"--print-to-pdf={paper}", page.as_uri()], capture_output=True, timeout=300, check=True)
    assert paper.read_bytes().startswith(b"%PDF")
    assert paper.stat().st_size > 20_000
