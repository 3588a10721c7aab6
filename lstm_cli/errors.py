"""The faults that a user can mend, each with the exit code its kind ends with.

Every message says where, what, what was got and what to try. Anything that is not an `LstmclsError` is a bug
and keeps its traceback.
"""

from __future__ import annotations

import difflib
import itertools
import signal
from collections.abc import Iterable, Sequence

_MAX_CHOICES, _MAX_CHARS = 10_000, 100


class LstmclsError(Exception):
    """A fault at run time that is not one of the kinds below. Exit code 1."""

    exit_code = 1


class ConfigError(LstmclsError):
    """Every fault of a config or a command line, found in one reading. Exit code 2."""

    exit_code = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class DataError(LstmclsError):
    """Data that cannot be used as it is: names the file and the line. Exit code 3."""

    exit_code = 3


class GateMissed(LstmclsError):  # noqa: N818 - it is no fault of the program
    """A score stayed below `--fail-under`. Exit code 4."""

    exit_code = 4


class CheckpointError(LstmclsError):
    """No checkpoint that is whole, or none that fits. Exit code 5."""

    exit_code = 5


class StorageError(LstmclsError):
    """A file that could not be written: a full or failing disk, a folder of somebody else's."""


class NotFiniteError(LstmclsError):
    """A training whose loss, gradient or weights have become NaN or infinite."""


class Interrupted(LstmclsError):  # noqa: N818
    """A signal arrived and what had to be saved is saved. Exit code 130 for SIGINT, else 143 (a hang-up is treated as
    SIGTERM is)."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 130 if signal_number == signal.SIGINT else 143


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """' Did you mean "positive"?' where one of `choices` is near, else ''."""
    # comparing two words takes time that grows with their square, and a label may be a whole text by mistake
    choices = [choice for choice in itertools.islice(choices, _MAX_CHOICES) if len(choice) <= _MAX_CHARS]
    if len(word) > _MAX_CHARS:
        return ""
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if not near:  # the same letters in another case are always near
        near = [choice for choice in choices if choice.lower() == word.lower()]
    return f' Did you mean "{near[0]}"?' if near else ""
