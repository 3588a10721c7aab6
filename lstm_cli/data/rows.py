"""A row, what its content must be able to do, and how rows are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

from lstm_cli.data.config import DataConfig
from lstm_cli.data.files import Hashes


class RowError(ValueError):
    """A row cannot be used. The message says why, and becomes the `error` of the row."""


class Content(Protocol):
    """What a row holds, such as a text and its label. Each task defines which content class it reads.

    The methods with a body are defaults for subclasses.
    """

    __slots__ = ()

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        """(key, column) for each column that is read from a table; `key` is the `data:` key that names it."""
        ...

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Self:
        """The content from one value for each of `columns`. Raises RowError if the values cannot be used.

        `encoding` is that of the file, for messages; None if lone surrogates come from JSON escapes.
        """
        ...

    @classmethod
    def from_text(cls, text: str, label: str | None) -> Self:  # noqa: ARG003
        """The content from a text in a format without columns. Raises RowError if the task needs columns."""
        raise RowError("plain text, where this task reads columns of values")

    @classmethod
    def empty(cls) -> Self:
        """A placeholder: the content of a row that cannot be read."""
        ...

    @classmethod
    def gathered(cls, rows: Iterator[Row[Any]], reading: Reading) -> Iterator[Row[Any]]:  # noqa: ARG003
        """The rows of a file, made of the rows of its lines: these themselves, unless a content spans several lines."""
        return rows

    def span(self) -> tuple[int, int] | None:
        """The first and last time of the target, if the rows are in time: they are then split by time only."""
        return None

    def key(self) -> bytes:
        """A key that is equal for copies. All copies of a content go to the same split."""
        ...

    def stratum(self) -> str | None:
        """The stratum, such as the label: each split gets the same fraction of every stratum.

        None: no stratification.
        """
        return None

    def size(self) -> int:
        """The approximate number of characters or numbers. It limits how many rows are in memory at a time."""
        return len(self.key())

    def as_json(self) -> dict[str, Any]:
        """The whole content, as values that JSON can hold."""
        ...


C = TypeVar("C", bound=Content, covariant=True)


@dataclass(frozen=True, slots=True)
class Row(Generic[C]):
    """A content and its place: `line`, counted from 1, is the line in `path` on which the row starts.

    For Parquet and Hub rows `line` is the row number, counted from 1; for a document that is a whole file it is 1.
    `fields` holds the other columns if they are kept. `error` says why the row cannot be read; its content is then
    empty. `group` is the row's value of data.group_column: all rows of a group go to the same split.
    """

    content: C
    path: str
    line: int
    fields: dict[str, str] | None = None
    error: str | None = None
    group: str | None = None

    def where(self) -> str:
        """`path:line`, as every error names a row."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read: the `data:` section, and the class of their content.

    `labelled`: every row must have a label. `keep_fields`: the columns that are not read stay as fields. `keep_text`:
    so do those that are read; in a format without columns the text is the field `text`. `grouped`: each row gets its
    group. `hashes` gets the SHA-256 of each file that is read to its end.
    """

    config: DataConfig
    content: type[Content]
    labelled: bool
    keep_fields: bool = False
    keep_text: bool = False
    grouped: bool = False
    hashes: Hashes | None = field(default=None, compare=False)

    def columns(self) -> list[tuple[str, str]]:
        """(key, column) for each column that is read: those of the content, then that of the group, if there is one."""
        name = self.config.group_column if self.grouped else None
        return [*self.content.columns(self), *([] if name is None else [("group_column", name)])]

    @property
    def a_row_a_line(self) -> bool:
        """Whether each line of a table is one row, and not a point of which `gathered` makes other rows."""
        return getattr(self.content.gathered, "__func__", None) is Content.gathered.__func__  # type: ignore[attr-defined]

    def broken(self, path: str, line: int, error: str, fields: dict[str, str] | None = None) -> Row[Any]:
        """A row that cannot be used; `error` says why."""
        return Row(self.content.empty(), path, line, fields, error)

    def row_of_text(
        self, text: str, label: str | None, path: str, line: int, fields: dict[str, str] | None = None
    ) -> Row[Any]:
        """A row from a format without columns."""
        if self.keep_text:
            fields = {"text": text, **(fields or {})}
        try:
            return Row(self.content.from_text(text, label), path, line, fields)
        except RowError as fault:
            return self.broken(path, line, str(fault), fields)
