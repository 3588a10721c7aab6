"""The errors that a user can correct, each with its exit code.

Every message says where the error is, what is expected there, what was found and what to try. Any exception that is not
an `LstmclsError` is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import itertools
import signal
from collections.abc import Iterable, Sequence

_MAX_CHOICES, _MAX_CHARS = 10_000, 100


class LstmclsError(Exception):
    """The base class of all kinds below, and a run-time error of no other kind. Exit code 1."""

    exit_code = 1


class ConfigError(LstmclsError):
    """All faults of a config or a command line, reported together. Exit code 2."""

    exit_code = 2

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class DataError(LstmclsError):
    """Data that cannot be used as it is. The message names the file and the line. Exit code 3."""

    exit_code = 3


class GateMissed(LstmclsError):  # noqa: N818 - the program did not fail
    """A score is worse than its bound in `--fail-under`. Exit code 4."""

    exit_code = 4


class CheckpointError(LstmclsError):
    """No complete checkpoint exists, or it does not match its own config or this version. Exit code 5."""

    exit_code = 5


class StorageError(LstmclsError):
    """A file cannot be written: the disk is full or failing, or permission is missing. Exit code 1."""


class NotFiniteError(LstmclsError):
    """The loss, the gradient or the weights of a training are NaN or infinite. Exit code 1."""


class Interrupted(LstmclsError):  # noqa: N818
    """A signal stopped the command; the message says what is saved.

    Exit code 130 for SIGINT, 143 for SIGTERM and SIGHUP.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 130 if signal_number == signal.SIGINT else 143


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint such as ' Did you mean "positive"?' if one of `choices` is similar to `word`, else ''."""
    # comparing two words takes time quadratic in their length, and a "label" can be a whole text by mistake
    choices = [choice for choice in itertools.islice(choices, _MAX_CHOICES) if len(choice) <= _MAX_CHARS]
    if len(word) > _MAX_CHARS:
        return ""
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if not near:  # a word that differs only in case always counts as similar
        near = [choice for choice in choices if choice.lower() == word.lower()]
    return f' Did you mean "{near[0]}"?' if near else ""
