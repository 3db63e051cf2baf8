"""Ending on SIGTERM and Ctrl-C within ten seconds, also while compiled code keeps the main thread.

Python handles a signal in the main thread, between two of its instructions, and a fit by libsvm is a single one, which may
take for ever. So a second thread is told of the signal, too, as soon as it arrives (``signal.set_wakeup_fd``):

    the main thread handles the signal:  it unwinds, closing what is open; the second thread waits for its end
    it does not, or does not come to its end:  the second thread closes what is open, and ends the process

Windows has no such signals: there the main thread is alone, and a computation that does not end is ended by other means.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache

HANDLED_SECONDS = 3.0
"""After a signal, how long the main thread may take to handle it."""
UNWOUND_SECONDS = 7.0
"""After a signal, how long the main thread may take to come to its end."""
_CLOSING_SECONDS = 2.0

_ENDING = {signal.SIGINT, signal.SIGTERM}
_handled = threading.Event()
_open: list[Callable[[str], None]] = []


def exit_on_signals() -> None:
    """Let SIGTERM unwind as Ctrl-C does, and both end the process in any case. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background of a shell it is ignored
        signal.signal(signal.SIGINT, _leave)
    _start_watching()


@contextlib.contextmanager
def closing(close: Callable[[str], None]) -> Iterator[None]:
    """While this is open, ``close(reason)`` is called, in another thread, when the process must end without unwinding."""
    _open.append(close)
    try:
        yield
    finally:
        _open.remove(close)


def hold_signals() -> Callable[[], None]:
    """Hold SIGTERM and Ctrl-C back in this thread, until what is returned is called. Does nothing on Windows."""
    if not hasattr(signal, "pthread_sigmask"):
        return lambda: None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return release


def _leave(number: int, _frame: object) -> None:
    _handled.set()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@cache
def _start_watching() -> None:
    if not (hasattr(signal, "pthread_sigmask") and hasattr(os, "register_at_fork")):  # Windows: the main thread alone
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # its signals are not this process's
    threading.Thread(target=_watch, args=(reading,), name="signals", daemon=True).start()


def _watch(reading: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # else they would come here where the main thread blocks them
    while True:
        number = os.read(reading, 1)[0]
        begin = time.monotonic()
        if not _is_ours(number):
            continue
        if _handled.wait(HANDLED_SECONDS):
            time.sleep(max(begin + UNWOUND_SECONDS - time.monotonic(), 0))
        if _is_ours(number):
            _end(signal.Signals(number))


def _is_ours(number: int) -> bool:
    return number in _ENDING and signal.getsignal(number) is _leave


def _end(number: signal.Signals) -> None:
    """Close what is open, the newest first, as far as it can be done in time; end the process."""
    reason = f"killed: {number.name} came while a computation ran that cannot be interrupted"
    worker = threading.Thread(target=_close_all, args=(reason,), daemon=True)
    worker.start()
    worker.join(_CLOSING_SECONDS)
    print(f"\nEnded by {number.name} within a computation; type the same command to go on.", file=sys.stderr, flush=True)
    os._exit(128 + number)


def _close_all(reason: str) -> None:
    for close in reversed(_open.copy()):
        with contextlib.suppress(Exception):  # the others are to be closed, too
            close(reason)
