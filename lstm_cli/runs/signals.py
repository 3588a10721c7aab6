"""SIGINT, SIGTERM and SIGHUP: after the first, the process saves its work and ends; after a second, it ends at once.

Python runs a handler only between two of its own instructions, and a tokenizer's library may compute for minutes
without returning to them. So a separate thread receives the signals too, and ends the process where the handler's
exception does not. It receives them through a socket: on Windows a wait with a timeout is possible on sockets only.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from lstm_cli.errors import Interrupted

_HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""What a terminal that closes sends; None where there is no such signal, as on Windows."""
_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, *([] if _HANGUP is None else [_HANGUP]))
_GRACE_SECONDS = 4.0
"""How long a library may take to notice an exception before the process ends without it."""


@dataclass(slots=True)
class StopRequest:
    """`signal_number` is set once somebody has asked to stop."""

    signal_number: int | None = None


_noting: StopRequest | None = None


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, a signal raises Interrupted in the main thread, unless `stop_requests` notes it."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # `nohup` asks that a hang-up be ignored
    numbers = [n for n in _SIGNALS if n != _HANGUP or signal.getsignal(n) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, _raise) for number in numbers}
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
    """Inside, a first signal is only noted and announced. At the end of the block it is raised as Interrupted."""
    global _noting
    request = StopRequest()

    def note(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form signal asks for
        if request.signal_number is None:
            request.signal_number = signal_number
            announce()

    _noting = request
    handlers = {number: signal.signal(number, note) for number in _SIGNALS if _is_ours(number)}
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _noting = None
    if request.signal_number is not None:
        raise Interrupted(request.signal_number, "stopped; the step at hand is done")


def _is_ours(number: int) -> bool:
    return signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL)


def _raise(signal_number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise Interrupted(signal_number, "stopped before there was anything to save")


def _watch(reader: socket.socket) -> None:
    """End the process at a second signal, or when nothing reacted to the first. Returns when the socket is closed."""
    asked: int | None = None
    while True:
        reader.settimeout(None if asked is None or _noting else _GRACE_SECONDS)
        try:
            numbers = [number for number in reader.recv(64) if number in _SIGNALS]
        except TimeoutError:
            assert asked is not None
            _leave(asked)
        if not numbers:
            return
        for number in numbers:
            # a terminal that closes may say so twice, and systemd sends it along with SIGTERM: that is no impatience
            if asked is not None and number != _HANGUP:
                _leave(number)
            asked = asked or number


def _leave(signal_number: int) -> NoReturn:
    os.write(2, b"stopped at once; what was saved before is whole\n")
    os._exit(Interrupted(signal_number, "").exit_code)
