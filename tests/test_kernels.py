"""`make test-kernels`: which tests it takes, and that it says what really ran."""

from __future__ import annotations

import subprocess
import sys

import kernels
import pytest


def test_every_test_with_a_tolerance_is_taken_and_the_quick_ones_are_among_them() -> None:
    names = kernels.numerical()
    assert {"retraining_smooth", "poisoning", "evasion", "projections", "learners", "measures", "stats"} <= set(names)
    assert not {"cli", "rooms", "store"} & set(names)
    assert set(kernels.QUICK) <= set(names)
    assert all((kernels.TESTS / f"{name}.py").is_file() for name in kernels.NOT_NUMERICAL)


def test_a_kernel_is_run_only_where_both_libraries_took_it() -> None:
    assert kernels.runs("Prescott", {"numpy": "Katmai", "scipy": "Prescott", "torch": "DEFAULT"})
    assert not kernels.runs("SkylakeX", {"numpy": "Haswell", "scipy": "Haswell", "torch": "AVX2"})
    assert not kernels.runs("SkylakeX", {"numpy": "SkylakeX", "scipy": "Haswell"})
    assert not kernels.runs("Haswell", {})


def test_what_cannot_run_is_no_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kernels, "probe", lambda env: {})
    monkeypatch.setattr(sys, "argv", ["kernels.py", "Haswell"])
    assert kernels.main() == 1
    assert "Haswell: left out, this processor or these wheels cannot run it: no answer" in capsys.readouterr().out


def test_an_unknown_kernel_is_named() -> None:
    command = [sys.executable, str(kernels.TESTS / "kernels.py"), "Z80"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "got Z80" in done.stderr
