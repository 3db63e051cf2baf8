"""Nothing that a stranger could have written is executed: files of data, archives, stores, names, servers."""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import PACKAGE, SOURCE
from synthetic_study import SMALL, grid, write_store

from transfer_exp import ui
from transfer_exp.data.arrays import load_arrays
from transfer_exp.data.drebin import read_drebin
from transfer_exp.data.drebin_sample import load_drebin_sample
from transfer_exp.report.build import build_report
from transfer_exp.types import Sizes, UserError

# Callables that run what they read, or write where what they read says.
RUNNING = {"eval", "exec", "compile", "__import__", "extract", "extractall", "unpack_archive", "system", "popen"}
RUNNING |= {"pickle.load", "pickle.loads", "joblib.load", "torch.load", "yaml.load", "yaml.unsafe_load", "pd.read_pickle"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_file_of_the_package_calls_what_runs_what_it_reads() -> None:
    found = []
    for file in PACKAGE.rglob("*.py"):
        for name, call in calls(ast.parse(file.read_text())):
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            unsafe = name in RUNNING or name.rsplit(".", 1)[-1] in ("extract", "extractall", "unpack_archive")
            unsafe |= name.endswith(("np.load", "numpy.load")) and options.get("allow_pickle") != "False"
            if name == "torch.load":  # of a user's checkpoint: plain tensors alone
                unsafe = options.get("weights_only") != "True"
            if name == "yaml.load":
                unsafe = options.get("Loader") != "SafeLoader"
            unsafe |= options.get("shell", "False") != "False"
            if unsafe:
                found.append(f"{file.relative_to(PACKAGE)}:{call.lineno} {name}")
    # torch's module.eval() sets a mode; it takes no words. Configurations are copied by way of pickle, within one process.
    unpickling = [entry for entry in found if entry.startswith("cli/composing.py") and entry.endswith(" pickle.loads")]
    assert len(unpickling) == 1
    assert not [entry for entry in found if not entry.endswith(".eval") and entry not in unpickling]


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def trapped(mark: Path) -> np.ndarray[Any, Any]:
    return np.array([Trap(mark)] * 4, dtype=object)


def test_the_trap_works(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", trapped(tmp_path / "mark"), allow_pickle=True)
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["X", "y", "lower"])
def test_no_array_of_a_users_file_is_unpickled(tmp_path: Path, name: str) -> None:
    content = {"X": np.eye(4), "y": np.arange(4) % 2, name: trapped(tmp_path / "mark")}
    np.savez(tmp_path / "own.npz", allow_pickle=True, **content)
    with pytest.raises(UserError, match="no pickled objects"):
        load_arrays(name="own", file=str(tmp_path / "own.npz"), split=Sizes(test=2))
    assert not (tmp_path / "mark").exists()


def test_a_member_that_is_not_needed_is_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", allow_pickle=True, X=np.eye(4), y=np.arange(4) % 2, notes=trapped(tmp_path / "mark"))
    load_arrays(name="own", file=str(tmp_path / "own.npz"), split=Sizes(test=2))
    assert not (tmp_path / "mark").exists()


def test_no_array_of_a_published_sample_is_unpickled(tmp_path: Path) -> None:
    x = sp.csr_matrix(np.eye(4))
    np.savez(
        tmp_path / "drebin_red_1000x545334_csr.npz",
        allow_pickle=True, format=b"csr", shape=x.shape, indices=x.indices, indptr=x.indptr, data=trapped(tmp_path / "mark"),
    )  # fmt: skip
    (tmp_path / "drebin_red_1000_labels.csv").write_text("row,label\n0,0\n1,1\n2,0\n3,1\n")
    with pytest.raises(UserError, match="expected a sparse matrix saved by scipy"):
        load_drebin_sample(name="sample", folder=str(tmp_path), split=Sizes(test=2))
    assert not (tmp_path / "mark").exists()


def test_members_of_an_archive_are_read_in_place_whatever_their_paths_say(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    (place / "sha256_family.csv").write_text("sha256,family\n" + "a" * 64 + ",F\n")
    with zipfile.ZipFile(place / "feature_vectors.zip", "w") as archive:
        archive.writestr(f"../../{'a' * 64}", "permission::SEND_SMS\n")
        archive.writestr(f"{tmp_path}/{'b' * 64}", "permission::INTERNET\n")
    before = set(tmp_path.rglob("*"))
    assert read_drebin(str(place)).apps == ["a" * 64, "b" * 64]
    assert set(tmp_path.rglob("*")) == before
    assert not Path(f"/{'a' * 64}").exists()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study whose every name was chosen by somebody unkind."""
    folder = tmp_path_factory.mktemp("hostile")
    items = grid(SMALL["surrogates"], SMALL["targets"], [1.0], [0, 1])
    for item in items:
        for role in ("surrogate", "target"):
            name = item["params"][role].replace("mlp_high", "<script>alert(1)</script>").replace("mlp_low", "$\\frac$_low")
            item["params"][role] = name
            item["curve"][role] = name
            item["tags"][f"{role}.family"] = name if "<" in name else item["tags"][f"{role}.family"]
        item["params"]["dataset"] = '"><img src=x onerror=alert(1)>'
        item["curve"]["dataset"] = item["params"]["dataset"]
        item["params"]["surrogate.C"] = "</td><script>alert(2)</script>"
    study = "'><script>alert(3)</script>"
    uri = write_store(folder, study, items)
    for file in folder.rglob("examples.npz"):
        content = io.BytesIO()
        np.savez(content, allow_pickle=True, clean=trapped(folder / "mark"), label=trapped(folder / "mark"))
        file.write_bytes(content.getvalue())
    return build_report(tracking_uri=uri, study=study, out=folder / "out", log_to_parent=False).parent


def test_a_report_escapes_every_name(hostile: Path) -> None:
    html = (hostile / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;script&gt;alert(3)" in html
    assert not re.findall(r"<script|<img src=x|<b>", html)
    assert not [file for file in hostile.rglob("*.svg") if "<script" in file.read_text()]
    assert set(pd.read_csv(hostile / "runs.csv")["surrogate"]) >= {"<script>alert(1)</script>"}


def test_a_report_unpickles_nothing_and_does_without(hostile: Path) -> None:
    assert not (hostile.parent / "mark").exists()
    assert "example_1" not in (hostile / "report.html").read_text()


@pytest.mark.parametrize("file", ["docs/many_machines.md", "README.md"])
def test_servers_listen_on_this_machine_only(file: str) -> None:
    text = (SOURCE / file).read_text().replace("\\\n", " ")
    started = [line for line in text.splitlines() if re.search(r"(BIN\)|bin)/mlflow (ui|server)\b", line)]
    assert started or file == "README.md"
    assert not [line for line in started if "--host 127.0.0.1" not in line]


def test_the_page_listens_on_this_machine_only(root: Path) -> None:
    words = ui.command([])
    assert words[words.index("--host") + 1] == "127.0.0.1"
