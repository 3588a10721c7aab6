"""SIGINT and SIGTERM: asked for once, the work at hand is saved first; asked for twice, the process leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from lstm_cli.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class StopRequest:
    """`signal_number` is set once somebody has asked to stop."""

    signal_number: int | None = None


def raise_when_asked() -> None:
    """From here on SIGTERM ends the process as Ctrl-C does: with an exception, exit code 143."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(signal_number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the form signal asks for
    raise Interrupted(signal_number, "stopped before there was anything to save")


@contextmanager
def stop_requests(announce: Callable[[], None]) -> Iterator[StopRequest]:
    """Inside, a first signal is only noted, and announced; a second one leaves at once without saving."""
    request = StopRequest()

    def note(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if request.signal_number is not None:
            os._exit(128 + signal_number)
        request.signal_number = signal_number
        announce()

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
