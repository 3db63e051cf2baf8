"""The wheel: installed where there is no source tree, the command finds its configuration and works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import SMALL, SOURCE, runs

pytestmark = pytest.mark.slow


def command(*words: str | Path, cwd: Path) -> str:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TRANSFER_EXP_ROOT", "MLFLOW_TRACKING_URI")
    }
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_an_installed_wheel_works_from_any_folder(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    command(*pip, "wheel", "--no-deps", *offline, "--wheel-dir", tmp_path / "wheels", SOURCE, cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "transfer_exp/conf/surrogate/svm_low.yaml" in names
    assert "hydra_plugins/transfer_exp_sweeper.py" in names
    assert "hydra_plugins/__init__.py" not in names  # other packages have their plugins there
    assert not [name for name in names if name.startswith(("tests", "conf/"))]

    command(sys.executable, "-m", "venv", "--without-pip", tmp_path / "fresh", cwd=tmp_path)
    python = tmp_path / "fresh" / "bin" / "python"
    command(*pip, "--python", python, "install", "--no-deps", wheel, cwd=tmp_path)
    # The packages it needs come from this environment; the project itself does not: nested .pth files are not read.
    (site,) = (tmp_path / "fresh").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = command(python, "-c", "import sys, transfer_exp; sys.stderr.write(transfer_exp.__file__)", cwd=elsewhere)
    assert Path(where).is_relative_to(tmp_path / "fresh")
    assert "finished" in command(tmp_path / "fresh" / "bin" / "transfer-exp", *SMALL, cwd=elsewhere)
    (run,) = runs(elsewhere)
    assert run.info.status == "FINISHED"
    assert "[2/2] finished" in command(tmp_path / "fresh" / "bin" / "transfer-exp", "-m", *SMALL, "seed=1,2", cwd=elsewhere)

    part = ("seed=2", "surrogate=svm_low,ridge_low", "target=svm_low", "surrogate_fraction=1.0")
    assert "[2/2] finished" in command(tmp_path / "fresh" / "bin" / "transfer-exp", "demo", *part, cwd=elsewhere)
    assert (elsewhere / "reports" / "digits89_evasion" / "report.html").is_file()
    assert len(runs(elsewhere, "digits89_evasion", kind="combination")) == 2
