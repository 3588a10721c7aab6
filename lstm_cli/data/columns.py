"""From the columns of a table to rows: which columns a content needs, and how their values become a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lstm_cli.data.files import ESCAPE, readable
from lstm_cli.data.rows import Reading, Row, RowError
from lstm_cli.errors import DataError, did_you_mean

_SHOWN_COLUMNS = 20
_SHOWN_CHARS = 40


def missing_columns(names: Sequence[str], reading: Reading) -> str | None:
    """The error message if columns are missing: which ones, what the table has, which key to set. None if all exist."""
    missing = [(key, name) for key, name in reading.content.columns(reading) if name not in names]
    if not missing:
        return None
    shown = ", ".join(
        name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}…" for name in names[:_SHOWN_COLUMNS]
    )
    more = f", … and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    absent = " and ".join(f'no column "{name}"' for _, name in missing)
    near = "".join(dict.fromkeys(did_you_mean(name, map(readable, names)) for _, name in missing))
    keys = " and ".join(dict.fromkeys(f"data.{key}" for key, _ in missing))
    return f"{absent} (have: {readable(shown)}{more}).{near} Set {keys}{_header_hint(names, reading)}"


def _header_hint(names: Sequence[str], reading: Reading) -> str:
    if reading.config.columns is not None:
        return " or data.columns"
    if len(names) == 1 and "\t" in names[0]:
        return ", or data.format: tsv if tabs separate the columns"
    if len(names) == 1 and ";" in names[0]:
        return "; if semicolons separate the columns, save the file with commas"
    if any(len(name) > _SHOWN_CHARS or len(name.split()) > 3 or name.isdecimal() for name in names):
        return ", or data.columns if the file has no header row: its first row looks like data"
    return ""


def as_text(value: object) -> str:
    """A cell as text, as a CSV file would hold it: null is empty, true is "true", a list is JSON.

    Raises RowError for a value that is nested too deeply.
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
                raise RowError("a value is nested too deeply to be written as text") from None
        case _:  # dates, decimals
            return str(value)


class Columns:
    """Makes rows from the values of one table. Raises DataError, which names `where`, if a column is missing."""

    def __init__(
        self, names: Sequence[str], reading: Reading, path: str, where: str, escapes: bool = False
    ) -> None:
        if fault := missing_columns(names, reading):
            raise DataError(f"{where}: {fault}")
        self._path = path
        self._reading = reading
        self._encoding = None if escapes else reading.config.encoding
        self._read = [names.index(name) for _, name in reading.content.columns(reading)]
        kept = [(at, readable(name)) for at, name in enumerate(names) if at not in self._read]
        self._kept = kept if reading.keep_fields else None

    def row(self, values: Sequence[object], line: int) -> Row[Any]:
        """The row of these values, which are in the order of `names`. A row that cannot be used has an `error`."""
        fields = None
        try:
            if self._kept is not None:
                fields = {name: readable(as_text(values[at])) for at, name in self._kept}
            content = self._reading.content.from_values(
                [values[at] for at in self._read], self._reading, self._encoding
            )
        except RowError as fault:
            return self._reading.broken(self._path, line, str(fault), fields)
        return Row(content, self._path, line, fields)
