"""The list that `make mutants` works from names what is there, and every survivor with a reason."""

from __future__ import annotations

import tomllib

from conftest import PACKAGE, SOURCE

TESTS = SOURCE / "tests"
CONFIG = tomllib.loads((TESTS / "mutants.toml").read_text())


NUMBERS = (
    "work/",
    "scenarios/",
    "combination.py",
    "margin.py",
    "report/",
    "measures/",
    "stats.py",
    "correlation.py",
    "tracking/recording.py",
)
SHOWN = {f"report/{name}.py" for name in ("__init__", "__main__", "build", "client", "drawing", "examples", "gaps", "page")}
SHOWN |= {
    f"report/{name}.py"
    for name in ("database", "path_drawing", "attack_drawing", "provenance", "repair", "snapshot", "words")
}
SHOWN |= {f"report/{name}.py" for name in ("files", "headings", "class_drawing")} | {"scenarios/words.py"}
SHOWN |= {f"report/{name}.py" for name in ("audit_page", "audit_words", "choosing_drawing", "claims_page")}
SHOWN |= {f"report/{name}.py" for name in ("claims_cells", "claims_found", "claims_glossary")}
SHOWN |= {"measures/__init__.py", "work/__init__.py"}


def test_all_rooms_whose_numbers_reach_a_table_are_mutated_and_their_tests_are_there() -> None:
    rooms = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py")}
    assert {room for room in rooms if room.startswith(NUMBERS)} - SHOWN <= set(CONFIG["rooms"]) <= rooms
    named = {test for tests in CONFIG["rooms"].values() for test in tests}
    assert {name for name in named if not (TESTS / name).is_file()} == set()
    assert all(CONFIG["rooms"].values())


def test_every_survivor_has_a_reason_and_stands_in_its_room_as_it_is_now() -> None:
    survivors = CONFIG.get("survivors", [])
    assert len({(one["room"], one["mutation"]) for one in survivors}) == len(survivors)
    for one in survivors:
        assert one["kind"] in ("equivalent", "diagnostic")
        assert len(one["reason"].split()) > 3
        source = " ".join((PACKAGE / one["room"]).read_text().split())
        assert " ".join(one["mutation"].split(" => ")[0].split()) in source, one["mutation"]
