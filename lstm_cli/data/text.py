"""The content of rows for text classification: a text and its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lstm_cli.data.columns import as_text
from lstm_cli.data.files import text_fault
from lstm_cli.data.rows import Content, Reading, Row, RowError


@dataclass(frozen=True, slots=True)
class Text(Content):
    """A text and its label, which is None if it is unknown."""

    text: str
    label: str | None = None

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        """The text columns, then the label column if the rows must have labels."""
        columns = [("text_column", name) for name in reading.config.text_columns]
        return [*columns, ("label_column", reading.config.label_column)] if reading.labelled else columns

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Text:
        names = reading.config.text_columns
        texts = [_string(value, name, encoding) for value, name in zip(values, names, strict=False)]
        label = label_of(values[-1], reading.config.label_column, encoding) if reading.labelled else None
        return cls(texts[0] if len(texts) == 1 else reading.config.join.join(texts), label)

    @classmethod
    def from_text(cls, text: str, label: str | None) -> Text:
        return cls(text, label)

    @classmethod
    def empty(cls) -> Text:
        return cls("")

    def key(self) -> bytes:
        """The text in lower case and with single spaces."""
        return " ".join(self.text.split()).casefold().encode()

    def stratum(self) -> str | None:
        """The label."""
        return self.label

    def size(self) -> int:
        """The number of characters."""
        return len(self.text)

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "label": self.label}


def text_row(
    text: str,
    label: str | None = None,
    path: str = "",
    line: int = 1,
    fields: dict[str, str] | None = None,
    error: str | None = None,
) -> Row[Text]:
    """A row that holds a text."""
    return Row(Text(text, label), path, line, fields, error)


def rows_of_texts(texts: Iterable[str]) -> list[Row[Text]]:
    """A row for each text that a caller in Python gives.

    Raises TypeError if `texts` is one text or holds something else, ValueError for a lone surrogate.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"texts: must be a list of texts, got one {type(texts).__name__}; try [text]")
    rows = []
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}]: must be a str, got {type(text).__name__} ({text!r:.60})")
        if fault := text_fault(text, f"texts[{i}]", None):
            raise ValueError(fault)
        rows.append(text_row(text, line=i + 1))
    return rows


def label_of(value: object, name: str, encoding: str | None) -> str:
    """The label in a cell of the column `name`. Raises RowError if there is none."""
    while isinstance(value, list) and len(value) == 1:  # as annotation tools export one label
        value = value[0]
    if isinstance(value, list) and value:
        raise RowError(
            f'column "{name}" holds a list of {len(value)} labels; more than one label per text is not supported yet'
        )
    if value == []:
        value = ""
    label = _string(value, name, encoding)
    if not label:
        raise RowError(f'the label (column "{name}") is empty. Give the row a label or remove it')
    return label


def _string(value: object, name: str, encoding: str | None) -> str:
    if not isinstance(value, str):
        if isinstance(value, list | dict):
            inside = (
                f"; name a value inside, such as {name}.{next(iter(value), 'key')}"
                if isinstance(value, dict)
                else ""
            )
            raise RowError(f'column "{name}" holds a {type(value).__name__} where a text is needed{inside}')
        value = as_text(value)
    if fault := text_fault(value, f'column "{name}"', encoding):
        raise RowError(fault)
    return value
