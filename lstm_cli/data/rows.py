"""One row of a source, what a task asks of its content, and how rows are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

from lstm_cli.data.config import DataConfig


class RowError(ValueError):
    """Why one row cannot be used; it becomes the row's `error`."""


class Content(Protocol):
    """What a row holds, such as a text and its label. A task names the class of contents that it reads.

    A class that derives from this one need not be made of a text, and has no strata.
    """

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        """(key, column): each column of a table that is read, with the key of the `data:` section that names it."""
        ...

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Self:
        """The content of one value for each of `columns`. Raises RowError.

        `encoding` is that of the file's bytes; None where the values come from JSON escapes.
        """
        ...

    @classmethod
    def from_text(cls, text: str, label: str | None) -> Self:  # noqa: ARG003
        """The content of a text from a format without columns. Raises RowError where it cannot be made of one."""
        raise RowError("plain text, where this task reads columns of values")

    @classmethod
    def empty(cls) -> Self:
        """The content of a row that could not be read."""
        ...

    def key(self) -> bytes:
        """Equal for copies, which are never on two sides of a split."""
        ...

    def stratum(self) -> str | None:
        """The part of the data that a split draws from evenly, such as the label; None: there are no parts."""
        return None

    def size(self) -> int:
        """About how many characters or numbers are held in memory."""
        return len(self.key())

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        ...


C = TypeVar("C", bound=Content, covariant=True)


@dataclass(frozen=True, slots=True)
class Row(Generic[C]):
    """A content and where it stands. `line` is the 1-based line on which the row starts in `path`.

    For Parquet and Hub rows `line` is the 1-based row number; for a document that is a whole file it is 1.
    `fields` holds the other columns where they are kept. `error` says why the row could not be read; its content
    is then empty.
    """

    content: C
    path: str
    line: int
    fields: dict[str, str] | None = None
    error: str | None = None

    def where(self) -> str:
        """`path:line`, the way in which every error names a row."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read: the `data:` section, the class of their content, whether each must have a label, whether
    other columns stay."""

    config: DataConfig
    content: type[Content]
    labelled: bool
    keep_fields: bool = False

    def broken(self, path: str, line: int, error: str, fields: dict[str, str] | None = None) -> Row[Any]:
        """A row that cannot be used, and why."""
        return Row(self.content.empty(), path, line, fields, error)

    def row_of_text(
        self, text: str, label: str | None, path: str, line: int, fields: dict[str, str] | None = None
    ) -> Row[Any]:
        """A row of a format without columns."""
        try:
            return Row(self.content.from_text(text, label), path, line, fields)
        except RowError as fault:
            return self.broken(path, line, str(fault), fields)
