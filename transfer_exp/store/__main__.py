"""What the store holds, and what of it is of no use any more: ``python -m transfer_exp.store``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from transfer_exp.store.contents import Part, contents, left_behind, remove
from transfer_exp.system.commands import results_root, run_command, values
from transfer_exp.types import UserError, counted

HELP = """\
usage: python -m transfer_exp.store [store=FOLDER] [--prune [--yes]]

Size of the store by kind of entry, and how much of it today's code and libraries no longer use: entries that another
version of the package, of the user's own modules, or of scikit-learn, torch, scipy or numpy made.

  store    folder of the store (default: store/ in the folder TRANSFER_EXP_ROOT, else in this one)
  --prune  say what would be removed: these entries, and what killed processes left behind; with --yes, remove it

Entries made with cells of a notebook, or with modules that are not found from here, are kept: type the command where
your modules are imported from.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(_command, arguments, HELP)


def _command(arguments: Sequence[str]) -> int:
    given = values(arguments, ("store",), ("--prune", "--yes"))
    if "--yes" in given and "--prune" not in given:
        raise UserError("--yes: expected it with --prune, got it alone; see --help")
    root = Path(given.get("store") or results_root() / "store").expanduser()
    if not (root / "locks").is_dir():
        raise UserError(f"store: expected a store, got {root}, which is none; name it with store=FOLDER")
    found = contents(root)
    _show(root, found)
    if "--prune" not in given:
        return 0
    files = _union(part.stale for part in found.values())
    files |= {file: file.stat().st_size for file in left_behind(root)}
    return _prune(root, files, really="--yes" in given)


def _show(root: Path, found: Mapping[str, Part]) -> None:
    rows = [(kind, part.everything, part.stale) for kind, part in found.items()]
    rows.append(("all", _union(row[1] for row in rows), _union(row[2] for row in rows)))
    print(f"store {root}\n{'kind':<22}{'entries':>9}{'MB':>11}{'unreachable':>14}{'MB':>11}")
    for kind, everything, stale in rows:
        print(f"{kind:<22}{len(everything):>9,}{_megabytes(everything):>11,.1f}{len(stale):>14,}{_megabytes(stale):>11,.1f}")
    unknown = _union(part.unknown for part in found.values())
    if unknown:
        size = f"{counted(len(unknown), 'entry', 'entries')} ({_megabytes(unknown):,.1f} MB)"
        print(f"{size} made with a notebook, or with modules that are not found from here: kept")


def _union(parts: Iterable[Mapping[Path, int]]) -> dict[Path, int]:
    return {file: size for part in parts for file, size in part.items()}


def _megabytes(files: Mapping[Path, int]) -> float:
    return sum(files.values()) / 1e6


def _prune(root: Path, files: Mapping[Path, int], *, really: bool) -> int:
    what = f"{counted(len(files), 'file')} ({_megabytes(files):,.1f} MB)"
    if not really:
        print(f"would remove {what}; nothing was removed: add --yes")
        return 0
    kept = [file for file in files if not remove(root, file)]
    print(f"removed {counted(len(files) - len(kept), 'file')} of {what}" + (f"; not {kept[0]}, ..." if kept else ""))
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
