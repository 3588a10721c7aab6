"""The content of rows for tagging: the words of a sentence and a tag for each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lstm_cli.data.columns import as_text
from lstm_cli.data.files import text_fault
from lstm_cli.data.rows import Content, Reading, RowError

_WORD = re.compile(r"\w+|[^\w\s]")
_MAX_WORDS = 100_000


@dataclass(frozen=True, slots=True)
class Words(Content):
    """The words of a sentence, and a tag for each of them, or None if they are unknown."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        """The column with the list of words, then the one with the list of tags if the rows must have them."""
        names = [("words_column", reading.config.words_column)]
        return [*names, ("tag_column", reading.config.tag_column or "tags")] if reading.labelled else names

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Words:
        words = _strings(values[0], reading.config.words_column, encoding)
        if not reading.labelled:
            return cls(words)
        name = reading.config.tag_column or "tags"
        tags = _strings(values[1], name, encoding)
        if len(tags) != len(words):
            raise RowError(
                f'column "{name}" has {len(tags)} tags for the {len(words)} words of "{reading.config.words_column}"; '
                f"each word needs one"
            )
        return cls(words, tags)

    @classmethod
    def from_text(cls, text: str, label: str | None) -> Words:  # noqa: ARG003 - a label of a text is no tag
        """The words of a plain text: runs of letters and digits, and every other character but space for itself."""
        return cls(tuple(_WORD.findall(text)))

    @classmethod
    def empty(cls) -> Words:
        return cls(())

    def key(self) -> bytes:
        """The words in lower case."""
        return "\0".join(self.words).casefold().encode("utf-8", "surrogatepass")

    def size(self) -> int:
        """The number of characters."""
        return sum(map(len, self.words))

    def as_json(self) -> dict[str, Any]:
        return {"words": list(self.words), "tags": None if self.tags is None else list(self.tags)}


def _strings(value: object, name: str, encoding: str | None) -> tuple[str, ...]:
    """A list of texts; a cell of a table may hold it as JSON. Raises RowError for something else."""
    if isinstance(value, bytes):
        value = as_text(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(
                f'column "{name}" holds a text where a list is needed, such as ["A", "word"]'
            ) from None
    if not isinstance(value, list | tuple):
        raise RowError(f'column "{name}" holds a {type(value).__name__} where a list of texts is needed')
    if not value:
        raise RowError(f'column "{name}" is an empty list; remove the row')
    if len(value) > _MAX_WORDS:
        raise RowError(f'column "{name}" holds a list of {len(value):,}; at most {_MAX_WORDS:,} are read')
    for at, one in enumerate(value):
        if not isinstance(one, str):
            raise RowError(
                f'column "{name}" holds a {type(one).__name__} at place {at + 1}, where a text is needed'
            )
        if not one.strip():
            raise RowError(f'column "{name}" is empty at place {at + 1}')
        if fault := text_fault(one, f'column "{name}"', encoding):
            raise RowError(fault)
    return tuple(value)
