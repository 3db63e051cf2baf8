"""Names of studies: an MLflow experiment each, and folders of that name below the root."""

from __future__ import annotations

from transfer_exp.types import UserError

WHOLE = "combinations"
"""Tag of a sweep: how many combinations its study has, where the study's configuration says which."""
_MAX_BYTES = 200  # a folder's name may have 255


def check_study(name: str) -> None:
    """Raise UserError unless a name can be that of a study: ``group/part`` can, one that leads out of the root cannot."""
    n_bytes = len(name.encode())
    if not name.strip():
        got = "none"
    elif n_bytes > _MAX_BYTES:
        got = f"{n_bytes} bytes"
    elif not name.isprintable() or "\\" in name or name != name.strip() or {"", ".", ".."} & set(name.split("/")):
        got = repr(name)
    else:
        return
    raise UserError(
        f"study: expected a name of at most {_MAX_BYTES} bytes, no line break, no backslash, no slash at an end, no part "
        f"such as '..' (group/part is one), got {got}; choose another"
    )


def study_folder(study: str) -> str:
    """The name of a study as that of one folder, another for every study."""
    return study.replace("%", "%25").replace("/", "%2F")
