"""One row of text, and what a reader is told about the rows that it shall make."""

from __future__ import annotations

from dataclasses import dataclass

from lstm_cli.data.config import DataConfig


@dataclass(frozen=True, slots=True)
class Row:
    """A text with what is known of it. `line` is the 1-based line on which the row starts in `path`.

    For Parquet and Hub rows `line` is the 1-based row number; for a document that is a whole file it is 1.
    `fields` holds the other columns where they are kept. `error` says why the row could not be read; its text
    is then empty and its label None.
    """

    text: str
    label: str | None
    path: str
    line: int
    fields: dict[str, str] | None = None
    error: str | None = None

    def where(self) -> str:
        """`path:line`, the way in which every error names a row."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read: the `data:` section, whether each must have a label, whether other columns stay."""

    config: DataConfig
    labelled: bool
    keep_fields: bool = False
