"""What the commands beside Hydra's share: ``python -m transfer_exp.report``, ``.store``, ``.ui``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from transfer_exp.system.masking import masked
from transfer_exp.types import UserError


def results_root(given: str | Path | None = None) -> Path:
    """The folder of the results: the given one, else that of the variable TRANSFER_EXP_ROOT, else the working folder."""
    return Path(given or os.environ.get("TRANSFER_EXP_ROOT") or ".").expanduser()


def ui_command() -> str:
    """The command that opens MLflow's page: ``make ui`` in the folder of the source, where its Makefile is."""
    in_source = Path.cwd() == Path(__file__).parents[2] and Path("Makefile").is_file()
    return "make ui" if in_source else "python -m transfer_exp.ui"


def find_modules_in(*folders: str | Path) -> None:
    """Let Python find modules in these folders, in this order, before all others."""
    wanted = [str(Path(folder).absolute()) for folder in folders]
    sys.path[:0] = [folder for folder in wanted if folder not in sys.path]


def run_command(command: Callable[[Sequence[str]], int], arguments: Sequence[str] | None, text: str = "") -> int:
    """Run a command, or print its help ``text``; returns the exit status, 2 after a UserError, which is printed in one line.

    arguments: None for those that were typed.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if text and {"-h", "--help"} & set(words):
        print(text, end="")
        return 0
    try:
        return command(words)
    except UserError as mistake:
        print(f"error: {masked(str(mistake))}", file=sys.stderr)
        return 2


def values(arguments: Sequence[str], keys: Collection[str], flags: Collection[str] = ()) -> dict[str, str]:
    """``key=value`` arguments as a dict, a flag with an empty value. Raises UserError for anything else."""
    found: dict[str, str] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if argument in flags:
            found[argument] = ""
        elif key in keys and value:
            found[key] = value
        else:
            *most, last = [*(f"{known}=..." for known in keys), *flags]
            expected = f"{', '.join(most)} or {last}" if most else last
            raise UserError(f"expected {expected}, got {argument}; see --help")
    return found


def words_of(command: str) -> list[str]:
    """The words of a command that was recorded; of a text that no shell reads, what stands between blanks."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()
