"""The rooms of the package, drawn from its imports: ``python tools/rooms.py`` (``make rooms``) writes docs/rooms.svg.

    modules -> who imports whom -> the same of rooms (a folder or file at the top of the package)
    floors   bands, the highest at the top; within a band, a room stands above those that it uses
    arrows   of what is used directly; one that follows from others is left out

The tests of the rooms (tests/test_rooms.py) use the same floors and the same reader of imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise
from pathlib import Path

SOURCE = Path(__file__).parents[1]
PACKAGE = SOURCE / "transfer_exp"
PICTURE = SOURCE / "docs" / "rooms.svg"
DOOR = "__init__"

# Lowest first. A room may use those of its own floor and of lower ones, as long as no circle arises.
FLOORS: dict[str, tuple[str, ...]] = {
    "ground": ("types", "seeds", "signature", "system", "stats", "correlation", "margin"),
    "data, models, attacks": ("optim", "data", "store", "learners", "measures", "attacks", "figures"),
    "one combination": ("combination", "work", "scenarios", "checks", "points"),
    "the record": ("confusions", "tracking"),
    "the reader": ("report",),
    "commands and door": ("cli", "ui", "check", "export", "evaluate", "__main__", DOOR),
}
FLOOR = {room: k for k, rooms in enumerate(FLOORS.values()) for room in rooms}

Graph = dict[str, set[str]]


def modules(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Every module of the package by its dotted name below it; a package goes by its folder's name."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == DOOR and len(parts) > 1 else parts)
        found[name] = ast.parse(file.read_text(), str(file))
    return found


def imports(tree: ast.AST) -> set[str]:
    """Dotted names that a module imports, anywhere in its file."""
    targets = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            targets |= {f"{node.module}.{alias.name}" for alias in node.names}
    return targets


def own(targets: Iterable[str]) -> set[str]:
    """Those of them that lie in the package, below it: ``cli.job.run_one``."""
    return {t.removeprefix("transfer_exp").lstrip(".") for t in targets if t.split(".")[0] == "transfer_exp"}


def arrows(trees: Mapping[str, ast.Module]) -> Graph:
    """Module -> modules of the package that it imports. The door (``from transfer_exp import ...``) is none of them."""
    return {name: {_known(target, trees) for target in own(imports(tree))} - {name, ""} for name, tree in trees.items()}


def _known(target: str, trees: Mapping[str, ast.Module]) -> str:
    """The module that ``target`` is, or that it is a name of."""
    while target and target not in trees:
        target = target.rpartition(".")[0]
    return target


def room_of(module: str) -> str:
    """The folder or file at the top of the package that a module lies in."""
    return module.split(".")[0]


def rooms(graph: Mapping[str, set[str]]) -> Graph:
    """The same arrows between rooms."""
    found: Graph = {room_of(module): set() for module in graph}
    for module, used in graph.items():
        found[room_of(module)] |= {room_of(one) for one in used} - {room_of(module)}
    return found


def upward(graph: Mapping[str, set[str]]) -> list[str]:
    """Arrows between modules that lead to a higher floor."""
    return [f"{a} -> {b}" for a, used in graph.items() for b in sorted(used) if FLOOR[room_of(b)] > FLOOR[room_of(a)]]


def direct(graph: Mapping[str, set[str]]) -> Graph:
    """The arrows that do not follow from others. Raises graphlib.CycleError where they go in a circle."""
    below: Graph = {}
    for room in TopologicalSorter(graph).static_order():
        below[room] = graph[room].union(*(below[used] for used in graph[room]))
    return {room: {one for one in used if not any(one in below[other] for other in used)} for room, used in graph.items()}


def rows(graph: Mapping[str, set[str]]) -> list[tuple[str, list[str]]]:
    """Floor and rooms of each row, from the top; a room stands above all rooms that it uses."""
    level: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        level[room] = 1 + max((level[used] for used in graph[room] if FLOOR[used] == FLOOR[room]), default=-1)
    found: dict[tuple[int, int], list[str]] = {}
    for room in sorted(graph):
        found.setdefault((FLOOR[room], level[room]), []).append(room)
    names = list(FLOORS)
    return [(names[floor], found[floor, k]) for floor, k in sorted(found, reverse=True)]


WIDTH, LEFT, BOX, HEIGHT, STEP = 1080, 170, 110, 30, 74
"""Pixels: of the picture, of the floors' names, of a room (width, height), from row to row."""
BEND = 0.3  # of a room's width: what a place where an arrow passes a row takes

Place = tuple[float, int]


def layers(graph: Mapping[str, set[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """The rows, with a place ``a>b`` in each row that the arrow from a to b passes; the arrows as lists of such places."""
    order = [list(row) for _, row in rows(graph)]
    height = {room: k for k, row in enumerate(order) for room in row}
    chains = []
    for a in sorted(graph):
        for b in sorted(graph[a]):
            passed = range(height[a] + 1, height[b])
            for k in passed:
                order[k].append(f"{a}>{b}")
            chains.append([a, *(f"{a}>{b}" for _ in passed), b])
    return order, chains


def places(order: list[list[str]], chains: list[list[str]]) -> list[dict[str, Place]]:
    """Centre of each room and place, row by row; those of a row stand in the order of the middles of their neighbours."""
    found = [_spread(row, k) for k, row in enumerate(order)]
    height = {room: k for k, row in enumerate(order) for room in row if ">" not in room}
    steps = [(height[chain[0]] + i, *pair) for chain in chains for i, pair in enumerate(pairwise(chain))]
    for sweep in range(24):
        down = sweep % 2 == 0
        for k in range(len(order)) if down else reversed(range(len(order))):
            near: dict[str, list[float]] = {one: [] for one in order[k]}
            for row, a, b in steps:
                if down and row == k - 1:
                    near[b].append(found[k - 1][a][0])
                if not down and row == k:
                    near[a].append(found[k + 1][b][0])
            middle = {one: sum(xs) / len(xs) if xs else found[k][one][0] for one, xs in near.items()}
            found[k] = _spread(sorted(order[k], key=lambda one: (round(middle[one], 2), one)), k)
    return found


def _spread(row: list[str], k: int) -> dict[str, Place]:
    """A row's places from left to right, as far apart as there is room."""
    shares = [BEND if ">" in one else 1.0 for one in row]
    gap = (WIDTH - LEFT) / sum(shares)
    ends = [sum(shares[: i + 1]) for i in range(len(shares))]
    return {one: (LEFT + gap * (end - share / 2), 40 + STEP * k) for one, end, share in zip(row, ends, shares, strict=True)}


def svg(graph: Mapping[str, set[str]]) -> str:
    """The picture of rooms and the arrows between them; only the direct ones are drawn."""
    order, chains = layers(direct(graph))
    found = places(order, chains)
    at = {room: place for row in found for room, place in row.items() if ">" not in room}
    row_of = {room: k for k, row in enumerate(order) for room in row if ">" not in room}
    height = max(y for _, y in at.values()) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *_bands(at),
        *(_arrow([found[row_of[chain[0]] + i][one] for i, one in enumerate(chain)], chain) for chain in chains),
        *(_box(x, y, room) for room, (x, y) in sorted(at.items())),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bands(at: Mapping[str, Place]) -> Iterable[str]:
    for k, (floor, members) in enumerate(FLOORS.items()):
        ys = [at[room][1] for room in members if room in at]
        if ys:
            top, bottom = min(ys) - STEP // 2, max(ys) + STEP // 2
            colour = "#f4f6fa" if k % 2 else "#fbf7ef"
            yield f'<rect y="{top}" width="{WIDTH}" height="{bottom - top}" fill="{colour}"/>'
            yield f'<text x="12" y="{(top + bottom) // 2 + 4}" fill="#555">{escape(floor)}</text>'


def _arrow(points: list[Place], chain: list[str]) -> str:
    first, last = (points[0][0], points[0][1] + HEIGHT // 2), (points[-1][0], points[-1][1] - HEIGHT // 2)
    ends = [first, *((x, y + side * HEIGHT // 2) for x, y in points[1:-1] for side in (-1, 1)), last]
    curve = f"M{first[0]:.0f} {first[1]}"
    for (x, y), (u, v) in pairwise(ends):
        curve += f"C{x:.0f} {(y + v) // 2} {u:.0f} {(y + v) // 2} {u:.0f} {v}"
    title = escape(f"{chain[0]} uses {chain[-1]}")
    return f'<path d="{curve}" fill="none" stroke="#777" marker-end="url(#head)"><title>{title}</title></path>'


def _box(x: float, y: int, room: str) -> str:
    name = "transfer_exp" if room == DOOR else room if (PACKAGE / room).is_dir() else f"{room}.py"
    corner = f'x="{x - BOX / 2:.0f}" y="{y - HEIGHT // 2}"'
    return (
        f'<rect {corner} width="{BOX}" height="{HEIGHT}" rx="5" fill="#fff" stroke="#345"/>'
        f'<text x="{x:.0f}" y="{y + 5}" text-anchor="middle">{escape(name)}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(svg(rooms(arrows(modules()))))
    print(PICTURE)
