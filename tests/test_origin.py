"""Code from outside the package: told apart by module and source; what has no known source is never stored."""

from __future__ import annotations

import importlib
import linecache
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from own_learner import LEARNER

from transfer_exp import signature as signatures
from transfer_exp.learners import Ridge
from transfer_exp.signature import Key, code_version, is_current, outside, signature, sources
from transfer_exp.signature.outside import origin
from transfer_exp.store import Store

Write = Callable[..., ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module and import it as a new process would."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]

    def write(text: str, name: str = "mine", **others: str) -> ModuleType:
        forget()
        for module, content in {name: text, **others}.items():
            file = tmp_path / f"{module.replace('.', '/')}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(content)
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)  # of the same second, perhaps
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    forget()


def key(module: Any, **options: Any) -> Key:
    return signature(learner=module.Mine(alpha=1.0, **options))


def test_classes_of_one_name_in_two_modules_are_told_apart(write: Write) -> None:
    keys = {key(write(LEARNER, "one")), key(write(LEARNER, "two"))}
    assert len(keys) == 2
    assert all(one.storable for one in keys)


def test_a_class_is_another_once_its_file_is_edited_and_the_same_again_when_that_is_taken_back(write: Write) -> None:
    first, edited, again = (key(write(text)) for text in (LEARNER, LEARNER.replace("SIGN = 1", "SIGN = -1"), LEARNER))
    assert first == again != edited


HELPED = "import helper\n" + LEARNER.replace("self.SIGN", "helper.sign()")
LAZY = LEARNER.replace("        return", "        from helper import sign\n        return").replace("self.SIGN", "sign()")
SIGN = "def sign(): return 1\n"


@pytest.mark.parametrize("text", [HELPED, LAZY], ids=["at the top", "within a function"])
def test_what_it_imports_of_the_users_own_counts_too_however_deep(write: Write, text: str) -> None:
    deep = "import deeper\n" + SIGN
    plain, loaded = key(write(text, helper=SIGN)), importlib.import_module("helper")
    assert loaded.sign() == 1
    assert key(sys.modules["mine"]) == plain  # whether it is imported by now or not
    others = [
        key(write(text, helper=SIGN.replace("1", "-1"))),
        key(write(text, helper=deep, deeper="x = 1\n")),
        key(write(text, helper=deep, deeper="x = 10\n")),
    ]
    assert len({plain, *others}) == 4
    assert key(write(text, helper=SIGN, deeper="x = 100\n")) == plain  # nobody imports it


def test_relative_imports_within_a_users_package_count(write: Write) -> None:
    text = "from . import helper\n" + LEARNER
    found = [key(write(text, "own.mine", **{"own.__init__": "", "own.helper": f"x = {x}\n"})) for x in (1, 10)]
    assert found[0] != found[1]


def test_a_library_that_it_imports_counts_by_its_version(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    module = write("import tqdm\n" + LEARNER)
    before = key(module)
    assert before.made_with["library tqdm"]
    monkeypatch.setattr(outside, "library_version", lambda top: "other")
    assert key(module) != before


def test_a_file_edited_since_it_was_imported_has_no_source(write: Write, tmp_path: Path) -> None:
    function = LEARNER.replace("y if self.SIGN == 1 else n_classes - 1 - y", "y")
    for edited in (function, LEARNER.replace("SIGN = 1", "SIGN = -1")):  # a function; a constant
        module = write(LEARNER)
        assert Path(module.__cached__).is_file()
        (tmp_path / "mine.py").write_text(edited)
        assert not key(module).storable


def test_without_cached_code_a_file_written_since_the_process_began_has_no_source(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert not key(write(LEARNER)).storable
    module = write(LEARNER)
    os.utime(tmp_path / "mine.py", (1, 1))
    assert key(module).storable


def test_what_is_edited_after_the_first_look_keeps_the_source_that_runs(write: Write, tmp_path: Path) -> None:
    module = write(LEARNER)
    before, edited = key(module), LEARNER.replace("SIGN = 1", "SIGN = -1")
    (tmp_path / "mine.py").write_text(edited)
    assert key(module) == before
    os.utime(tmp_path / "mine.py", (1, 1))  # another time than that of the cached code
    old = module.Mine
    module = importlib.reload(module)
    assert key(module) == key(write(edited)) != before
    assert not signature(learner=old(alpha=1.0)).storable


def test_a_class_made_within_a_function_has_no_source(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    body = LEARNER.partition("@dataclass")[2].replace("\n", "\n    ")
    module = write(
        f"from dataclasses import dataclass\nfrom transfer_exp.learners.linear import Ridge\ndef make(SIGN):\n"
        f"    @dataclass{body}\n    return Mine\n"
    )
    one, same = (signature(learner=module.make(2)(alpha=1.0)) for _ in range(2))
    assert one != same  # it never comes again
    assert not one.storable
    (line,) = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert "mine.make.<locals>.Mine has no known source" in line
    assert "nothing that it makes is stored" in line


def test_attributes_that_a_class_does_not_declare_count(write: Write) -> None:
    init = """
    def __init__(self, more, **given):
        super().__init__(**given)
        object.__setattr__(self, "more", more)
"""
    module = write(LEARNER.replace("@dataclass(frozen=True, kw_only=True)\n", "") + init)
    assert key(module, more=1) == key(module, more=1) != key(module, more=2)


def test_a_method_put_into_a_class_of_the_package_counts(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    before = signature(learner=Ridge(alpha=1.0))
    monkeypatch.setattr(Ridge, "_fit", write(LEARNER).Mine._fit)
    assert signature(learner=Ridge(alpha=1.0)) != before
    monkeypatch.undo()
    assert signature(learner=Ridge(alpha=1.0)) == before


class Notebook:
    """A module without a file, whose cells lie where IPython puts them."""

    def __init__(self) -> None:
        self.module, self.n_cells = ModuleType("notebook"), 0

    def cell(self, text: str, *, remembered: bool = True) -> None:
        self.n_cells += 1
        name = f"<ipython-input-{self.n_cells}-{id(self)}>"
        if remembered:
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), vars(self.module))

    def key(self) -> Key:
        return key(self.module)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    made = Notebook()
    monkeypatch.setitem(sys.modules, "notebook", made.module)
    yield made
    for name in [name for name in linecache.cache if str(name).endswith(f"-{id(made)}>")]:
        del linecache.cache[name]


def test_a_class_defined_again_in_a_notebook_is_another(notebook: Notebook) -> None:
    keys = []
    for text in (LEARNER, LEARNER.replace("SIGN = 1", "SIGN = -1"), LEARNER):
        notebook.cell(text)
        keys.append(notebook.key())
    assert keys[0] == keys[2] != keys[1]
    assert all(one.storable for one in keys)


CHANGES = {
    "a function of another cell": ("def sign(): return 1\n", "def sign(): return -1\n", "sign()"),
    "a number of another cell": ("a = 1\n", "a = -1\n", "a"),
    "an array of another cell": ("import numpy\na = numpy.ones(1)\n", "import numpy\na = -numpy.ones(1)\n", "a"),
    "what another cell's function uses": ("a = 1\ndef sign(): return a\n", "a = -1\n", "sign()"),
    "a class of another cell": ("class A:\n  def f(self): return 1\n", "class A:\n  def f(self): return 2\n", "A().f()"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_class_uses_of_other_cells_counts(notebook: Notebook, change: str) -> None:
    before, after, use = CHANGES[change]
    notebook.cell(before)
    notebook.cell(LEARNER.replace("self.SIGN", use))
    first = notebook.key()
    assert first == notebook.key()
    notebook.cell("unused = 3\n" + before)
    notebook.module.__dict__.pop("unused")
    notebook.cell(after)
    second = notebook.key()
    assert first.storable
    assert second.storable
    assert first != second


def test_defaults_and_attributes_from_other_cells_count(notebook: Notebook) -> None:
    for text in (LEARNER.replace("SIGN = 1", "SIGN = a"), LEARNER.replace("*, n_classes, seed", "*, n_classes, seed, k=a")):
        keys = []
        for a in (1, 2):
            notebook.cell(f"a = {a}\n")
            notebook.cell(text)
            keys.append(notebook.key())
        assert keys[0] != keys[1]


@pytest.mark.parametrize(
    "text",
    [
        LEARNER.partition("    def")[0],  # no function that would tell the cell
        LEARNER.replace("self.SIGN", "state") + "state = object()\n",
    ],
    ids=["no function", "an object of unknown content"],
)
def test_what_cannot_be_known_of_a_cell_has_no_source(notebook: Notebook, text: str) -> None:
    notebook.cell(text)
    assert not notebook.key().storable


def test_executed_text_has_no_source(notebook: Notebook) -> None:
    notebook.cell(LEARNER, remembered=False)
    assert not notebook.key().storable


def test_nothing_is_stored_under_a_key_without_source_nor_under_one_made_of_it(notebook: Notebook, tmp_path: Path) -> None:
    notebook.cell(LEARNER, remembered=False)
    store, unknown = Store(tmp_path), notebook.key()
    for one in (unknown, signature(model=unknown, rows=[1, 2])):
        for value in (1, 2):
            assert store.get("learner", one, lambda value=value: {"v": np.int64(value)})["v"] == value
    assert not list(tmp_path.glob("*/*.npz"))
    assert store.misses["learner"] == 4


def test_a_key_knows_what_it_was_made_with(write: Write) -> None:
    inner = signature(learner=write(LEARNER).Mine(alpha=1.0), code=code_version("learners", "seeds.py"))
    outer = signature(points=inner, code=code_version("attacks"))
    assert set(outer.made_with) == {"code learners seeds.py", "code attacks", "module mine"}
    assert is_current(outer.made_with)
    assert not is_current({**outer.made_with, "code attacks": "other"})
    assert not is_current({**outer.made_with, "code not_there.py": "other"})
    assert not is_current({**outer.made_with, "module mine": "other"})
    assert is_current({**outer.made_with, "module not_there": "other"}) is None
    assert is_current({**outer.made_with, "cell notebook.Mine._fit": "other"}) is None
    assert is_current({"module not_there": "other", "code attacks": "other"}) is False
    assert is_current({}) is False


@pytest.mark.parametrize("library", ["scikit-learn", "torch", "scipy", "numpy"])
def test_versions_of_the_libraries_that_fit_count(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = signatures.library_versions()
    before = code_version.__wrapped__("learners")
    monkeypatch.setattr(signatures, "library_versions", lambda: {**known, library: "0"})
    assert code_version.__wrapped__("learners") != before


def test_tags_name_what_comes_from_outside(write: Write, notebook: Notebook) -> None:
    module = write(LEARNER)
    notebook.cell(LEARNER, remembered=False)
    found = sources([Ridge, module.Mine, type(module.Mine(alpha=1.0)), notebook.module.Mine])
    assert set(found) == {"source/mine.Mine", "source/notebook.Mine"}
    assert found["source/notebook.Mine"] == "unknown"
    assert found["source/mine.Mine"] != sources([write(LEARNER + "# edited\n").Mine])["source/mine.Mine"]
    assert origin(Ridge) == {}
