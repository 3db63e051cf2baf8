"""Tags of a run that say which code made it, who started it and from where; some fill columns of MLflow's table of runs."""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import transfer_exp

PACKAGES = ("torch", "scikit-learn", "numpy", "scipy", "mlflow", "hydra-core")
SOURCE = {"mlflow.source.name": "transfer_exp", "mlflow.source.type": "LOCAL"}


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of Python, the package and what it computes with, and the git commit of a source checkout."""
    return {
        "git_commit": _git_commit(),
        "version/transfer_exp": transfer_exp.__version__,
        "version/python": ".".join(map(str, sys.version_info[:3])),
        **{f"version/{package}": version(package) for package in PACKAGES},
    }


def _git_commit() -> str:
    """Commit of the source tree, with ``-dirty`` when files differ from it; ``unknown`` outside a checkout."""
    source = Path(transfer_exp.__file__).parent
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", str(source), "ls-files", "--error-unmatch", "__init__.py"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)  # noqa: S603  (fixed words, own folder)
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def origin(versions: Mapping[str, str]) -> dict[str, str]:
    """MLflow's own tags for the columns user, source and version; ``versions``: with ``git_commit``."""
    commit = versions["git_commit"]
    known = {"mlflow.source.git.commit": commit} if commit != "unknown" else {}
    return {"mlflow.user": _user(), **SOURCE, **known}


def made_by() -> dict[str, str]:
    """All of these tags, for a run that starts now."""
    return {**versions(), **origin(versions())}


@lru_cache(maxsize=1)
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in a container
        return "unknown"
