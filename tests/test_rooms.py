"""The rooms of the package: arrows only downward, no circle, Hydra in one folder, nothing heavy at the door."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rooms
from conftest import SOURCE
from rooms import FLOOR, FLOORS, PICTURE, arrows, direct, imports, modules, own, upward

HEAVY = {"torch", "mlflow", "sklearn", "scipy", "pandas", "matplotlib", "numpy"}
HYDRA = {"hydra", "omegaconf", "hydra_plugins"}
MODULES = modules()


def room_graph() -> rooms.Graph:
    return rooms.rooms(arrows(MODULES))


def test_every_room_has_a_floor() -> None:
    assert len(FLOOR) == sum(map(len, FLOORS.values()))
    assert set(room_graph()) - set(FLOOR) == set()


def test_arrows_point_downward() -> None:
    graph = arrows(MODULES)
    assert sum(map(len, graph.values())) > 30  # the reader of imports sees them
    assert upward(graph) == []


@pytest.mark.parametrize("graph", [arrows(MODULES), room_graph()], ids=["modules", "rooms"])
def test_there_is_no_import_circle(graph: rooms.Graph) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def planted(folder: Path, texts: Mapping[str, str]) -> dict[str, ast.Module]:
    for name, text in texts.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return modules(folder)


def test_the_check_sees_an_upward_arrow_and_a_circle(tmp_path: Path) -> None:
    texts = {
        "__init__": "from transfer_exp.learners.base import Model\n",
        "types": "def late():\n    from transfer_exp.learners.base import Model\n",
        "learners/__init__": "from transfer_exp.learners.base import Model\n",
        "learners/base": "import transfer_exp.types\nfrom transfer_exp import __version__\n",
        "seeds": "from transfer_exp import learners\n",
    }
    graph = arrows(planted(tmp_path, texts))
    assert graph["seeds"] == {"learners"}
    assert set(upward(graph)) == {"types -> learners.base", "seeds -> learners"}
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def users_of_hydra(trees: Mapping[str, ast.Module]) -> set[str]:
    """Modules that import Hydra or OmegaConf, outside the command line."""
    found = {name for name, tree in trees.items() if {one.split(".")[0] for one in imports(tree)} & HYDRA}
    return {name for name in found if rooms.room_of(name) not in ("cli", "__main__")}


def test_hydra_is_imported_by_the_command_line_alone() -> None:
    assert users_of_hydra(MODULES) == set()
    assert any("hydra" in str(one) for one in imports(MODULES["cli.sweep"]))


@pytest.mark.parametrize("text", ["import hydra.utils", "def f():\n    from omegaconf import OmegaConf"])
def test_the_check_sees_hydra_elsewhere(text: str, tmp_path: Path) -> None:
    assert users_of_hydra(planted(tmp_path, {"tracking/track": text, "cli/job": text, "__main__": text})) == {
        "tracking.track"
    }


def test_what_the_package_offers_at_its_door_is_for_others() -> None:
    used = {one for name, tree in MODULES.items() if name != "__init__" for one in own(imports(tree))}
    assert {one for one in used if one.split(".")[0] not in FLOOR} <= {"", "__version__"}


def test_nothing_heavy_is_imported_by_the_command_before_it_works() -> None:
    doors = [MODULES[name] for name in ("__main__", "cli", "cli.naming", "cli.unknown", "system", "system.masking")]
    at_top = [
        ast.Module([node for node in door.body if isinstance(node, ast.Import | ast.ImportFrom)], []) for door in doors
    ]
    found = set().union(*map(imports, at_top))
    unknown = {f"cli.unknown.{name}" for name in ("NotComposedError", "composing_in_one_line", "told")}
    assert own(found) == {"cli.naming.CONFIG", "system.masking.MaskingStream", "system.masking.masked", *unknown}
    assert "hydra" in found
    assert not {name.split(".")[0] for name in found} & HEAVY


def test_the_picture_is_that_of_today() -> None:
    assert PICTURE.read_text() == rooms.svg(room_graph()), "the rooms have changed; draw them again: make rooms"


def test_the_picture_has_every_room_and_only_arrows_that_follow_from_no_others() -> None:
    graph = {"ui": {"tracking", "types"}, "tracking": {"types", "data"}, "data": {"types"}, "types": set[str]()}
    assert direct(graph) == {"ui": {"tracking"}, "tracking": {"data"}, "data": {"types"}, "types": set()}
    drawn = ET.fromstring(rooms.svg(graph))
    titles = {str(one.text) for one in drawn.iter("{http://www.w3.org/2000/svg}title")}
    assert titles == {"ui uses tracking", "tracking uses data", "data uses types"}
    texts = {str(one.text): float(one.attrib["y"]) for one in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert texts["ui.py"] < texts["tracking"] < texts["data"] < texts["types.py"]


def test_the_plugin_is_light_for_every_hydra_program() -> None:
    (file,) = (SOURCE / "hydra_plugins").glob("*.py")  # no __init__: other packages have their plugins in this folder
    tree = ast.parse(file.read_text(), str(file))
    imported = {str(node.module).split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "collections", "pathlib", "typing", "hydra", "omegaconf"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def sizes(trees: Mapping[str, ast.Module]) -> dict[str, int]:
    """Lines of each module and of each function."""
    found = {name: max((node.end_lineno or 0 for node in tree.body), default=0) for name, tree in trees.items()}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found[f"{name}.{node.name}()"] = (node.end_lineno or 0) - node.lineno + 1
    return found


def test_files_and_functions_are_small() -> None:
    found = sizes(MODULES)
    assert {name: n for name, n in found.items() if n > (60 if name.endswith("()") else 250)} == {}
    assert sizes({"a": ast.parse("\n\ndef f():\n    x = 1\n    return x\n")}) == {"a": 5, "a.f()": 3}


FORBIDDEN = (
    "matplotlib.pyplot",
    "np.random.seed",
    "numpy.random.seed",
    "torch.manual_seed",
    "random.seed",
    "np.random.rand",
)


def words(tree: ast.Module) -> set[str]:
    """Dotted names that a module speaks of, and imports."""
    spoken = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            spoken |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            spoken |= {f"{node.module}.{alias.name}" for alias in node.names}
    return spoken


def forbidden(tree: ast.Module) -> set[str]:
    return {word for word in FORBIDDEN if word in words(tree)}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_global_state_of_others_is_touched(name: str) -> None:
    assert forbidden(MODULES[name]) == ({"torch.manual_seed"} if name == "seeds" else set())


@pytest.mark.parametrize(
    "text",
    [
        "import matplotlib.pyplot as plt",
        "from matplotlib import pyplot",
        "def f():\n    torch.manual_seed(3)",
        "np.random.seed(0)",
    ],
)
def test_the_check_sees_global_state(text: str) -> None:
    assert forbidden(ast.parse(text))
