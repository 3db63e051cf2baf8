"""SQLite as MLflow's client opens it, through SQLAlchemy: quick commits, and closed when the process ends."""

from __future__ import annotations

import atexit
import sqlite3
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


@cache
def configure_sqlite() -> None:
    """Set up every SQLite database that this process opens from now on; only the first call does anything.

    ``synchronous=NORMAL``: in a database with a write-ahead log, the disk is not waited for at each commit. A program that
    is killed loses nothing; a power failure may lose the last commits, never the database (sqlite.org/pragma.html).
    Closing at the end puts the write-ahead log into the database, which a garbage collection that skips it would not do.
    """
    from sqlalchemy import Engine, event  # here: a tracking server needs none of it

    opened: WeakSet[Engine] = WeakSet()

    def connected(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=NORMAL")

    def used(connection: Connection) -> None:
        opened.add(connection.engine)

    def close() -> None:
        for engine in opened:
            engine.dispose()

    event.listen(Engine, "connect", connected)
    event.listen(Engine, "engine_connect", used)
    atexit.register(close)
