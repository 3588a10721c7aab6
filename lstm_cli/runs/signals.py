"""SIGINT, SIGTERM and SIGHUP: after the first signal the process saves and ends; after the second it ends at once.

Python runs a signal handler only between two of its own instructions, and a call into the `tokenizers` library may take
minutes. So a separate thread reads the signals too, and ends the process if the handler's exception does not. The
interpreter notifies this thread through a socket: on Windows, a thread can wait for nothing else with a timeout.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from lstm_cli.errors import Interrupted
from lstm_cli.process import HANGUP, SIGNALS, leave, our_signals

_GRACE_SECONDS = 4.0
"""How long the main thread may take to react to a signal before the process is ended."""


@dataclass(slots=True)
class StopRequest:
    """A request to stop. `signal_number` is set once a signal has arrived."""

    signal_number: int | None = None


_pending_request: StopRequest | None = None


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block a signal raises Interrupted in the main thread, unless `stop_requests` handles it."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    handlers = {number: signal.signal(number, _raise) for number in our_signals()}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join()
        reader.close()


@contextmanager
def stop_requests(announce: Callable[[], None]) -> Iterator[StopRequest]:
    """Inside the block the first signal is only recorded and announced.

    At the end of the block it raises Interrupted.
    """
    global _pending_request
    request = StopRequest()

    def note(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        if request.signal_number is None:
            request.signal_number = signal_number
            announce()

    _pending_request = request
    handlers = {number: signal.signal(number, note) for number in SIGNALS if _is_ours(number)}
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _pending_request = None
    if request.signal_number is not None:
        raise Interrupted(request.signal_number, "after the step in progress was finished")


def _is_ours(number: int) -> bool:
    return signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL)


def _raise(signal_number: int, frame: FrameType | None) -> NoReturn:
    if _is_importing(frame):
        leave(signal_number)
    raise Interrupted(signal_number, "before there was anything to save")


def _watch(reader: socket.socket) -> None:
    """Run until the socket is closed: end the process at a second signal, or if nothing has reacted to the first."""
    asked: int | None = None
    while True:
        reader.settimeout(None if asked is None or _pending_request else _GRACE_SECONDS)
        try:
            numbers = [number for number in reader.recv(64) if number in SIGNALS]
        except TimeoutError:
            assert asked is not None
            leave(asked)
        if not numbers:
            return
        for number in numbers:
            # SIGHUP is never a second request: a closing terminal may send it twice, and systemd sends it with SIGTERM
            if asked is not None and number != HANGUP:
                leave(number)
            asked = asked or number


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported. Many a library takes an exception there for a module that is missing."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
