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
    """A request to stop. `signal_number` is set once a signal has arrived.

    `hangup_stops`: SIGHUP is such a signal too.
    """

    signal_number: int | None = None
    hangup_stops: bool = True


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
def stop_requests(
    announce: Callable[[], None],
    *,
    on_hangup: Callable[[], None] | None = None,
    message: str = "after the step in progress was finished",
) -> Iterator[StopRequest]:
    """Inside the block the first signal is only recorded and announced; SIGHUP calls `on_hangup` instead, if given.

    At the end of the block it raises Interrupted with the `message`.
    """
    global _pending_request
    request = StopRequest(hangup_stops=on_hangup is None)

    def note(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
        if signal_number == HANGUP and on_hangup is not None:
            on_hangup()
        elif request.signal_number is None:
            request.signal_number = signal_number
            announce()

    _pending_request = request
    numbers = [n for n in SIGNALS if _is_ours(n) or (n == HANGUP and on_hangup is not None)]
    handlers = {number: signal.signal(number, note) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _pending_request = None
    if request.signal_number is not None:
        raise Interrupted(request.signal_number, message)


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
            numbers = reader.recv(64)
        except TimeoutError:
            assert asked is not None
            leave(asked)
        if not numbers:
            return
        for number in numbers:
            if number not in SIGNALS or (
                number == HANGUP and _pending_request and not _pending_request.hangup_stops
            ):
                continue
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
