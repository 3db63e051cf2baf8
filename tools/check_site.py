"""Look at every page of the site in headless Chromium, as wide as a desktop and as a phone: ``python tools/check_site.py [SITE] [CHROMIUM]``.

Each page is shown in a frame of that width and of its own height. Faults: the page scrolls sideways; something stands out of the page that is in no box which
scrolls; text is cut off; text is covered by something else. Prints them, and ends with 1 when there are any.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from html import unescape
from pathlib import Path

WIDTHS = {"desktop": 1280, "phone": 390}
SECONDS = 300

PROBE = """
<!doctype html><meta charset="utf-8"><body><pre id="found"></pre><script>
const pages = %(pages)s, widths = %(widths)s, found = [], seen = [];
const scrolls = style => ["auto", "scroll"].includes(style.overflowX);
const short = e => e.tagName.toLowerCase() + ": " + (e.innerText || e.alt || "").trim().slice(0, 50);
function boxed(e, w, d) { for (let p = e; p && p !== d.body; p = p.parentElement) if (scrolls(w.getComputedStyle(p))) return true; return false; }
function look(w, width, tell) {
  const d = w.document, root = d.documentElement;
  if (root.scrollWidth > width) tell("scrolls sideways: " + root.scrollWidth + " px");
  let n = 0;
  for (const e of (d.querySelector(".md-content") || d.body).querySelectorAll("h1,h2,h3,p,li,td,th,pre,code,img,svg,summary,table")) {
    const box = e.getBoundingClientRect(), style = w.getComputedStyle(e);
    if (!box.width || !box.height || style.visibility === "hidden" || style.opacity === "0") continue;
    n += 1;
    const inside = boxed(e, w, d);
    if (!inside && (box.right > width + 1 || box.left < -1)) tell("stands out, " + short(e));
    if (!inside && style.overflowX === "hidden" && e.scrollWidth > e.clientWidth + 1) tell("is cut, " + short(e));
    const line = e.getClientRects()[0], x = line.left + line.width / 2, y = line.top + Math.min(line.height / 2, 8);
    if (inside || x > width) continue;
    const top = d.elementFromPoint(x, y);
    if (top && !top.contains(e) && !e.contains(top) && !top.closest(".md-header,.md-top,.md-clipboard,.md-code__nav,.md-tabs")) tell("is covered by " + short(top) + ", " + short(e));
  }
  return n;
}
(async () => {
  for (const [name, width] of Object.entries(widths)) for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style = "border:0;width:" + width + "px;height:900px";
    await new Promise(done => { frame.onload = done; frame.src = page; document.body.append(frame); });
    const root = frame.contentDocument.documentElement;
    await Promise.all([...frame.contentDocument.images].map(i => { i.loading = "eager"; return i.decode().catch(() => found.push(page + ", " + name + ": no picture " + i.src)); }));
    frame.style.height = Math.max(900, root.scrollHeight) + "px";
    await new Promise(done => setTimeout(done, 50));
    frame.scrollIntoView();
    const n = look(frame.contentWindow, width, what => found.push(page + ", " + name + ": " + what));
    seen.push([page, name, n]);
    frame.remove();
  }
  document.getElementById("found").textContent = JSON.stringify({found, seen});
  document.title = "done";
})();
</script>
"""


def look(site: Path, chromium: str = "chromium") -> tuple[list[str], list[tuple[str, str, int]]]:
    """Faults of all pages of a site, and what was looked at: page, width, number of elements. Raises RuntimeError without an answer."""
    pages = sorted(str(page.relative_to(site)) for page in site.rglob("*.html") if page.name != "404.html")
    handler = functools.partial(_Handler, PROBE % {"pages": json.dumps(pages), "widths": json.dumps(WIDTHS)}, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}", "--window-size=1400,1000"]
        address = f"http://127.0.0.1:{server.server_address[1]}/.probe"
        command = [chromium, *options, "--virtual-time-budget=600000", "--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        server.shutdown()
    answer = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    if answer is None:
        raise RuntimeError(f"expected an answer of {chromium}, got none: {done.stderr[-500:]}")
    told = json.loads(unescape(answer[1]))
    return told["found"], [tuple(one) for one in told["seen"]]


class _Handler(http.server.SimpleHTTPRequestHandler):
    """The site, and the probe beside it."""

    def __init__(self, probe: str, *args: object, directory: str) -> None:
        self.probe = probe
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path != "/.probe":
            return super().do_GET()
        content = self.probe.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main(words: Sequence[str]) -> int:
    """Print the faults of a site; 1 when there are any."""
    found, seen = look(Path(words[0] if words else "site"), *words[1:2])
    print("\n".join(found) or f"no faults: {len(seen)} looks at {len({page for page, *_ in seen})} pages")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
