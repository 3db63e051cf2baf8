"""The rooms of the package: arrows only downward, no circle, nothing heavy at the door, no global randomness."""

from __future__ import annotations

import ast
import functools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import PACKAGE, SOURCE

# design.md, "Rooms". Rooms of one floor may use each other as long as no circle arises.
FLOORS = {
    0: ("__init__", "system", "types", "seeds", "signature", "stats", "correlation", "margin"),
    1: ("optim", "learners", "data", "measures", "store"),
    2: ("attacks", "figures"),
    3: ("combination",),
    4: ("work",),
    5: ("scenarios",),
    6: ("tracking", "report"),
    7: ("cli", "ui"),
    8: ("__main__",),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
HEAVY = {"torch", "mlflow", "sklearn", "scipy", "pandas", "matplotlib", "numpy"}


@functools.cache
def modules(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Every module of the package by its dotted name below it; a package goes by its folder's name."""
    found = {}
    for file in package.rglob("*.py"):
        parts = file.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(file.read_text(), str(file))
    return found


def arrows(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports, anywhere in its file."""
    return {name: {_known(target, trees) for target in _imports(tree)} - {name} for name, tree in trees.items()}


def _imports(tree: ast.Module) -> set[str]:
    targets = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            targets |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {t.removeprefix("transfer_exp").lstrip(".") for t in targets if t.split(".")[0] == "transfer_exp"}


def _known(target: str, trees: dict[str, ast.Module]) -> str:
    """The module that ``target`` is, or that it is a name of."""
    while target and target not in trees:
        target = target.rpartition(".")[0]
    return target or "__init__"


def upward(graph: dict[str, set[str]]) -> list[str]:
    room = {name: name.split(".")[0] for name in graph}
    return [f"{a} -> {b}" for a, used in graph.items() for b in sorted(used) if FLOOR[room[b]] > FLOOR[room[a]]]


def test_every_room_has_a_floor() -> None:
    rooms = {name.split(".")[0] for name in modules()}
    assert rooms - set(FLOOR) == set()


def test_arrows_point_downward() -> None:
    graph = arrows(modules())
    assert sum(map(len, graph.values())) > 30  # the reader of imports sees them
    assert upward(graph) == []


def test_there_is_no_import_circle() -> None:
    try:
        TopologicalSorter(arrows(modules())).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_the_check_sees_an_upward_arrow_and_a_circle(tmp_path: Path) -> None:
    for name, text in {
        "__init__": "",
        "types": "def late():\n    from transfer_exp.learners.base import Model\n",
        "learners/__init__": "from transfer_exp.learners.base import Model\n",
        "learners/base": "import transfer_exp.types\n",
        "seeds": "from transfer_exp import learners\n",
    }.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    graph = arrows(modules(tmp_path))
    assert graph["seeds"] == {"learners"}
    assert set(upward(graph)) == {"types -> learners.base", "seeds -> learners"}
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_nothing_heavy_is_imported_at_the_door() -> None:
    doors = [
        modules()[name] for name in ("__main__", "cli", "cli.naming", "system", "system.masking")
    ]  # the first asks the other where the configuration lies
    at_top = ast.Module([node for door in doors for node in door.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    assert _imports(at_top) == {"cli.naming.CONFIG", "system.masking.MaskingStream"}
    names = {a.name.split(".")[0] for node in at_top.body if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module).split(".")[0] for node in at_top.body if isinstance(node, ast.ImportFrom)}
    assert "hydra" in names
    assert not names & HEAVY


def test_the_plugin_is_light_for_every_hydra_program() -> None:
    (file,) = (SOURCE / "hydra_plugins").glob("*.py")  # no __init__: other packages have their plugins in this folder
    tree = ast.parse(file.read_text(), str(file))
    imported = {str(node.module).split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "collections", "pathlib", "typing", "hydra", "omegaconf"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


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


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_global_state_of_others_is_touched(name: str) -> None:
    assert forbidden(modules()[name]) == set()


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
