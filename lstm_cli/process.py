"""What holds for the process of a command from its first moment to its last: signals, standard streams, last errors.

It imports nothing heavy: until its handlers are set, Ctrl-C is a traceback, and the imports of a command take a second.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""The signal of a terminal that closes; None on systems without it, such as Windows."""
SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, *([] if HANGUP is None else [HANGUP]))
_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
_OUT_OF_MEMORY = (
    "can't start new thread",
    "DefaultCPUAllocator",
    "bad_alloc",
    "Cannot allocate memory",
    "without exception set",
    "without setting an exception",
)
"""How a RuntimeError says that there is no memory left, and how the SystemError of an interpreter that has none for the
exception itself."""
_MAX_CHARS = 500
_OBJECTS = 10_000
"""So many new objects, not 700, let Python look for garbage. The imports of a command make many objects and no garbage:
with `gc.freeze` at the end, `predict` of one text with an exported folder takes 0.35 s of CPU time and not 0.42 s."""


def guarded(run: Callable[[], object]) -> NoReturn:
    """Call `run` and end the process.

    A signal that `run` does not handle ends it at once, and a limit of the system ends it with one line. A bug keeps
    its traceback.
    """
    for number in our_signals():
        signal.signal(number, _leave_at)
    gc.set_threshold(_OBJECTS, 10, 10)
    _reserve_streams()
    code: object = 0
    try:
        run()
    except SystemExit as end:
        code = end.code
    except Exception as fault:
        if not (said := of_the_system(fault)):
            raise
        code = _fail(said)
    if not _flushed() and code == 0:
        code = _fail("stdout: cannot be written; is it closed, or the disk full?")
    for number in our_signals():  # all is done: too late to stop
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # or Python would look for garbage once more in all that it is about to give back
    sys.exit(code if isinstance(code, int) else 0 if code is None else _fail(str(code)))


def our_signals() -> list[int]:
    """The signals that stop a command. Under `nohup` SIGHUP is ignored, and stays so."""
    return [n for n in SIGNALS if n != HANGUP or signal.getsignal(n) is not signal.SIG_IGN]


def leave(signal_number: int, said: str = "stopped at once; what was saved before is intact") -> NoReturn:
    """End the process at once, with one line and the exit code of this signal."""
    try:
        os.write(2, f"{said}\n".encode())
    finally:
        os._exit(130 if signal_number == signal.SIGINT else 143)


def _leave_at(signal_number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    leave(signal_number)


def _reserve_streams() -> None:
    """Open a standard stream that is closed, so that no file of ours takes its number.

    stdin and stdout are opened the wrong way round: to use them is an error, as it was. What goes to stderr is lost.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = os.O_RDONLY if name == "stdout" else os.O_WRONLY
            os.set_inheritable(os.open(os.devnull, mode), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8"))


def _flushed() -> bool:
    """Whether everything is written. If not, the rest is dropped, or Python would complain about it at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        return False
    return True


def of_the_system(fault: BaseException) -> str | None:
    """The message for an error that a limit of the system or a closed stream causes; None for any other."""
    for one in _chain(fault):
        text = " ".join(str(one).split())[:_MAX_CHARS]
        if isinstance(one, MemoryError) or any(words in text for words in _OUT_OF_MEMORY):
            return f"out of memory, or a limit on it is reached (ulimit -v): {text or 'nothing is left'}"
        if isinstance(one, OSError):
            if one.errno == errno.EBADF and not one.filename:
                return "stdin or stdout is closed, and is needed"
            hint = "; is a limit too low (ulimit -n)?" if one.errno in _LIMITS else ""
            return f"{f'{one.filename}: ' if one.filename else ''}{one.strerror or text}{hint}"
        if isinstance(one, ImportError) and not (one.name or "").startswith("lstm_cli"):
            return (
                f"cannot load {one.name or 'a library'}; is it installed, or a limit reached (ulimit)? {text}"
            )
    return None


def _chain(fault: BaseException | None) -> Iterator[BaseException]:
    """The exception and those that led to it."""
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__


def _fail(said: str) -> int:
    os.write(2, f"error: {said}\n".encode(errors="backslashreplace"))
    return 1
