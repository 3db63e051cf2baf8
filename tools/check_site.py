"""Look at every page of the site in headless Chromium, as wide as a desktop and as a phone.

    python tools/check_site.py [SITE] [CHROMIUM]

Each page is shown in a frame of that width and of its own height (check_site.html). Faults: the page scrolls sideways;
something stands out of the page that is in no box which scrolls; text is cut off; text is covered by something else; a
picture is missing. Prints them, and ends with 1 when there are any.
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

PROBE = Path(__file__).with_suffix(".html")


def look(site: Path, chromium: str = "chromium") -> tuple[list[str], list[tuple[str, str, int]]]:
    """Faults of all pages of a site, and what was looked at: page, width, number of elements.

    Raises RuntimeError without an answer.
    """
    pages = sorted(str(page.relative_to(site)) for page in site.rglob("*.html") if page.name != "404.html")
    handler = functools.partial(
        _Handler,
        PROBE.read_text().replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS)),
        directory=str(site),
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            "--window-size=1400,1000",
        ]
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
