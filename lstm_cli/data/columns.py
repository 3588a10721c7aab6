"""Which columns of a table are the text and the label, and the row that their values make."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lstm_cli.data.files import ESCAPE, readable, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError, did_you_mean

_SHOWN_COLUMNS = 20
_SHOWN_CHARS = 40


class _RowError(ValueError):
    """Why one row cannot be used; it becomes the row's `error`."""


def missing_columns(names: Sequence[str], reading: Reading) -> str | None:
    """What the table lacks, what it has and which key to set, or None where it has the text and the label."""
    wanted = [("text_column", name) for name in reading.config.text_columns]
    if reading.labelled:
        wanted.append(("label_column", reading.config.label_column))
    lacking = [(key, name) for key, name in wanted if name not in names]
    if not lacking:
        return None
    shown = ", ".join(
        name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}…" for name in names[:_SHOWN_COLUMNS]
    )
    more = f", … and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    absent = " and ".join(f'no column "{name}"' for _, name in lacking)
    near = "".join(dict.fromkeys(did_you_mean(name, map(readable, names)) for _, name in lacking))
    keys = " and ".join(dict.fromkeys(f"data.{key}" for key, _ in lacking))
    return f"{absent} (have: {readable(shown)}{more}).{near} Set {keys}{_header_hint(names, reading)}"


def _header_hint(names: Sequence[str], reading: Reading) -> str:
    if reading.config.columns is not None:
        return " or data.columns"
    if len(names) == 1 and "\t" in names[0]:
        return ", or data.format: tsv if tabs stand between the columns"
    if len(names) == 1 and ";" in names[0]:
        return "; if semicolons stand between the columns, save the file with commas"
    if any(len(name) > _SHOWN_CHARS or len(name.split()) > 3 or name.isdecimal() for name in names):
        return ", or data.columns if the file has no header row: this one looks like data"
    return ""


def as_text(value: object) -> str:
    """A cell as the text that it would be in a CSV file: null is empty, true is "true", a list is JSON.

    Raises _RowError for a value that JSON could read and cannot write.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case bytes():
            return value.decode("utf-8", ESCAPE)
        case bool() | int() | float() | list() | dict():
            try:
                return json.dumps(value, ensure_ascii=False, default=str)
            except RecursionError:
                raise _RowError("a value is nested too deep to be written out") from None
        case _:  # dates, decimals
            return str(value)


class Columns:
    """The columns of one table. Raises DataError, naming `where`, if the text or label is not there."""

    def __init__(
        self, names: Sequence[str], reading: Reading, path: str, where: str, escapes: bool = False
    ) -> None:
        if fault := missing_columns(names, reading):
            raise DataError(f"{where}: {fault}")
        config = reading.config
        self._path = path
        self._join = config.join
        self._encoding = None if escapes else config.encoding
        self._texts = [(names.index(name), name) for name in config.text_columns]
        self._label = (names.index(config.label_column), config.label_column) if reading.labelled else None
        used = {at for at, _ in self._texts} | ({self._label[0]} if self._label else set())
        kept = [(at, readable(name)) for at, name in enumerate(names) if at not in used]
        self._kept = kept if reading.keep_fields else None

    def row(self, values: Sequence[object], line: int) -> Row:
        """The row of these values, in the order of `names`; a row that cannot be used carries its `error`."""
        fields = None
        try:
            if self._kept is not None:
                fields = {name: readable(as_text(values[at])) for at, name in self._kept}
            texts = [self._string(values[at], name) for at, name in self._texts]
            label = self._label_of(values)
        except _RowError as fault:
            return Row("", None, self._path, line, fields, str(fault))
        return Row(texts[0] if len(texts) == 1 else self._join.join(texts), label, self._path, line, fields)

    def _label_of(self, values: Sequence[object]) -> str | None:
        if self._label is None:
            return None
        at, name = self._label
        if isinstance(values[at], list):
            raise _RowError(f'column "{name}" holds a list: more than one label a text is not supported yet')
        label = self._string(values[at], name)
        if not label:
            raise _RowError(f'the label (column "{name}") is empty. Give the row a label or take it out')
        return label

    def _string(self, value: object, name: str) -> str:
        if not isinstance(value, str):
            if isinstance(value, list | dict):
                raise _RowError(f'column "{name}" holds a {type(value).__name__} where a text is needed')
            value = as_text(value)
        if fault := text_fault(value, f'column "{name}"', self._encoding):
            raise _RowError(fault)
        return value
