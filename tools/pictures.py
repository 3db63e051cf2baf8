"""The pictures of the documentation, made again from results.

    python tools/pictures.py figures REPORTS             those of studies that have a report in this folder, to docs/images/
    python tools/pictures.py screens ROOT STUDY FOLDER   a study's report and MLflow's pages on it, of the results in ROOT

The screens go to a folder to choose from: those of MLflow in the documentation have columns and axes chosen by hand. They
take Chromium and tornado (in the environment that ``make notebooks`` uses).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SECONDS = 240  # for a page or a server to come up

FIGURES = {
    "mnist89_error_matrix_eps1_fraction1": ("mnist89_evasion", "error_matrix_eps1_fraction1"),
    "mnist89_error_matrix_eps2_fraction1": ("mnist89_evasion", "error_matrix_eps2_fraction1"),
    "mnist89_security_curves": ("mnist89_evasion", "security_curves"),
    "mnist89_gradient_alignment_vs_error_ratio": ("mnist89_evasion", "gradient_alignment_vs_error_ratio"),
    "mnist89_loss_variability_vs_mean_transfer": ("mnist89_evasion", "loss_variability_vs_mean_transfer"),
    "mnist89_poisoning_error_matrix_10percent": ("mnist89_poisoning", "error_matrix_eps0.1_fraction1"),
    "mnist89_poisoning_example": ("mnist89_poisoning", "example_1"),
    "lfw_poisoning_error_matrix_10percent": ("lfw_poisoning", "error_matrix_eps0.1_fraction1"),
    "lfw_poisoning_example": ("lfw_poisoning", "example_1"),
    "drebin215_evasion_matrix_5_features": ("drebin215_evasion", "error_matrix_eps5_fraction1"),
    "drebin215_security_curves": ("drebin215_evasion", "security_curves"),
    "mnist_error_matrix_eps1.5": ("mnist_evasion", "error_matrix_eps1.5_fraction1"),
    "mnist89_path_svm_C": ("mnist89_paths", "path_svm_C"),
    "training_radius_matrix": ("training_radius", "error_matrix_eps0.1_fraction1"),
    "training_radius_path": ("training_radius", "path_cnn_adversarial_radius"),
    "early_stopping_matrix": ("early_stopping", "error_matrix_eps0.1_fraction1"),
    "early_stopping_path": ("early_stopping", "path_mlp_high_checkpoint"),
    "attacks_tifgsm_matrix": ("attacks", "error_matrix_eps0.1_fraction1"),
    "ensembles_matrix": ("ensembles", "error_matrix_eps0.1_fraction1"),
    "targeted_matrix": ("targeted", "error_matrix_eps0.2_fraction1"),
    "batch_norm_matrix": ("batch_norm", "error_matrix_eps0.1_fraction1"),
    "sam_radius_matrix": ("sam_radius", "error_matrix_eps0.1_fraction1"),
    "regularisers_matrix": ("regularisers", "error_matrix_eps0.1_fraction1"),
    "width_depth_mlp_width": ("width_depth", "path_mlp_high_width"),
    "width_depth_cnn_depth": ("width_depth", "path_cnn_depth"),
    "width_depth_svm_C": ("width_depth", "path_svm_low_C"),
    "optimum_matrix": ("optimum", "error_matrix_eps0.1_fraction1"),
    "poisoning_claims_matrix": ("poisoning_claims", "error_matrix_eps0.1_fraction1"),
    "poisoning_threshold_curves": ("poisoning_threshold", "security_curves"),
    "mnist_pairs_matrix": ("mnist_pairs_poisoning", "error_matrix_eps0.1_fraction1"),
    "digits_poisoning_matrix": ("digits_poisoning", "error_matrix_eps0.1_fraction1"),
    "networks_poisoning_matrix": ("networks_poisoning", "error_matrix_eps0.1_fraction1"),
    "networks_poisoning_damage": ("networks_poisoning", "damage_against_seconds"),
    "mnist_poisoning_matrix": ("mnist_poisoning", "error_matrix_eps0.1_fraction1"),
    "robust_targets_matrix": ("robust_targets", "error_matrix_eps0.15_fraction1"),
}
"""Name in the documentation: study, and figure of its report."""

_ONE_SEED = "tags.kind = 'combination' and params.seed = '0'"

PLACE = """(() => {
  const all = ["button,[role=tab],[role=radio],label,a", "span"].flatMap(kind => [...document.querySelectorAll(kind)]);
  const it = all.find(e => e.innerText.trim() === WORDS || e.getAttribute("aria-label") === WORDS);
  const box = it && it.getBoundingClientRect();
  return box ? [box.left + box.width / 2, box.top + box.height / 2] : null;
})()"""


def figures(reports: Path, images: Path = IMAGES) -> list[str]:
    """Copy the figures of the studies that have a report; returns the names of the others."""
    missing = []
    for name, (study, stem) in FIGURES.items():
        found = reports / study / "figures" / f"{stem}.png"
        if found.is_file():
            shutil.copyfile(found, images / f"{name}.png")
        else:
            missing.append(name)
    return missing


@contextlib.contextmanager
def started(command: Sequence[str], address: str, **environment: str) -> Iterator[None]:
    """A process that answers at ``address``, ended afterwards."""
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(address)
            yield
        finally:
            process.terminate()


def _wait_for(address: str) -> None:
    for _ in range(SECONDS):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(address).close()
            return
        time.sleep(1)
    raise TimeoutError(f"expected an answer at {address} within {SECONDS} s, got none")


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Page:
    """A page of a running Chromium, spoken to by the DevTools protocol."""

    def __init__(self, connection: Any) -> None:
        self.connection, self.n = connection, 0

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self.n += 1
        await self.connection.write_message(json.dumps({"id": self.n, "method": method, "params": arguments}))
        while True:
            answer = json.loads(await self.connection.read_message())
            if answer.get("id") == self.n:
                return dict(answer["result"])

    async def shoot(
        self, address: str, file: Path, *, size: tuple[int, int], press: Sequence[str] = (), seconds: float = 20
    ) -> None:
        """Open an address, press what bears these words, and take a picture of the size."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )
        await self.call("Page.navigate", url="about:blank")
        await self.call("Page.navigate", url=address)
        await asyncio.sleep(seconds)
        for words in press:
            await self.press(words)
            await asyncio.sleep(seconds / 4)
        picture = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(picture["data"]))

    async def press(self, words: str) -> None:
        """Click what bears these words, by its text or its label; nothing where there is no such thing."""
        found = await self.call("Runtime.evaluate", expression=PLACE.replace("WORDS", json.dumps(words)), returnByValue=True)
        at = found["result"].get("value")
        for event in ("mousePressed", "mouseReleased") if at else ():
            mouse = {"x": at[0], "y": at[1], "button": "left", "clickCount": 1}
            await self.call("Input.dispatchMouseEvent", type=event, **mouse)


async def _shoot_all(port: int, server: str, report: Path, study: str, uri: str, images: Path) -> None:
    from mlflow.tracking import MlflowClient
    from tornado.websocket import websocket_connect

    from transfer_exp.tracking import notes

    tabs = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/json").read())
    tab = next(tab for tab in tabs if tab["type"] == "page")
    page = Page(await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=2**28))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study).experiment_id
    runs = client.search_runs([experiment], "tags.kind = 'combination'", max_results=100)
    parents = client.search_runs([experiment], "tags.kind = 'study'")
    await page.shoot(report.as_uri(), images / "report.png", size=(1280, 900), seconds=5)
    bare = ["Model training", "Close assistant", "Close"]  # once: the browser remembers
    await page.shoot(notes.page(server, experiment), images / "mlflow_runs.png", size=(1600, 640), press=bare)
    filtered = f"{notes.page(server, experiment)}&searchFilter={quote(_ONE_SEED)}"
    await page.shoot(filtered, images / "mlflow_runs.png", size=(1600, 640), press=["Columns", "User", "Version", "Columns"])
    if parents:
        address = f"{server}/{notes.address(experiment, parents[0].info.run_id)}"
        await page.shoot(address, images / "mlflow_description.png", size=(1200, 1000), press=["Show more"])
    compared = json.dumps([run.info.run_id for run in runs])
    address = f"{server}/#/compare-runs?runs={compared}&experiments={json.dumps([experiment])}"
    await page.shoot(address, images / "mlflow_compare.png", size=(1100, 700), press=["Scatter Plot"])


def screens(root: Path, study: str, images: Path) -> None:
    """Pictures of a study's report and of MLflow's pages on it."""
    images.mkdir(parents=True, exist_ok=True)
    at, debug = free_port(), free_port()
    server, report = f"http://127.0.0.1:{at}", root.resolve() / "reports" / study / "report.html"
    mlflow = [sys.executable, "-m", "transfer_exp.ui", "--port", str(at)]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        started(mlflow, server, TRANSFER_EXP_ROOT=str(root)),
    ):
        chromium = ["chromium", "--headless=new", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={profile}"]
        with started([*chromium, f"--remote-debugging-port={debug}", "about:blank"], f"http://127.0.0.1:{debug}/json"):
            asyncio.run(_shoot_all(debug, server, report, study, f"sqlite:///{root.resolve() / 'mlflow.db'}", images))


def main(words: Sequence[str]) -> int:
    """Make the pictures that the words ask for; 2 on other words."""
    match words:
        case ["figures", reports]:
            missing = figures(Path(reports))
            print(f"{len(FIGURES) - len(missing)} figures; not there: {', '.join(missing) or 'none'}")
        case ["screens", root, study, folder]:
            screens(Path(root), study, Path(folder))
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
