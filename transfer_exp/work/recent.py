"""Arrays of a process that its next combinations ask for again, kept in memory: those used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from transfer_exp.signature import Key
from transfer_exp.types import Floats


class Recent:
    """Arrays by key, ``most_bytes`` of them in all (the last one, whatever its size). Not to be changed in place."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Floats] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Floats]) -> Floats:
        """What is kept under this key; made where there is nothing. Under a key that is not ``storable`` nothing is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        made.setflags(write=False)  # a measure of the user's that edits it would change what others measure
        if key.storable:
            self._kept[key] = made
            while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
        return made
