"""Readers of CSV and TSV, each row with the line on which it starts.

CSV is read by the standard library and not by pyarrow or `datasets`: those do not know the line of a row, which every
error here names, and they keep a block of rows in memory, this reader only one row. This costs little: splitting the
25,000 reviews (33 MB) of IMDB takes 0.12 s here and 0.03 s in pyarrow.
"""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, TextIO

from lstm_cli.data.columns import BlankRows, Columns
from lstm_cli.data.delimiter import delimiter_of
from lstm_cli.data.files import MAX_LINE_CHARS, open_lines, open_text, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError

csv.field_size_limit(MAX_LINE_CHARS)  # a long document has more than the default of 131,072 characters

Record = tuple[int, list[str]]


def read_delimited(path: str, reading: Reading, usual: Literal[",", "\t"]) -> Iterator[Row[Any]]:
    """Rows of a CSV or TSV file, whose columns the `usual` character separates, or another that `delimiter_of` finds.

    A row with too few or too many fields has an `error`. Raises DataError for a file without a header, without a column
    that is needed, or with an unbalanced quote, because the text after such a quote cannot be divided into rows.
    """
    records, quoted = _records(path, reading, usual)
    with closing(records):
        line, names = _header(records, path, reading)
        columns, blank = Columns(names, reading, path, f"{path}:{line}"), BlankRows(path, reading)
        for line, record in _without_blanks(records, len(names)):
            if blank.skip(record):
                continue
            if len(record) == len(names):
                yield columns.row(record, line)
            else:
                yield reading.broken(path, line, _wrong_width(len(record), len(names), reading, quoted))
        blank.say()


def kept_columns(path: str, reading: Reading, usual: Literal[",", "\t"]) -> list[str]:
    """The fields of every row of a CSV or TSV file, which need not have a row. Raises DataError as `read_delimited`."""
    records, _ = _records(path, reading, usual)
    with closing(records):
        line, names = _header(records, path, reading)
        return Columns(names, reading, path, f"{path}:{line}").kept


def _records(
    path: str, reading: Reading, usual: Literal[",", "\t"]
) -> tuple[Generator[Record, None, None], bool]:
    """(the records of the file, whether its fields can be quoted)."""
    config = reading.config
    quoted = config.quoting == "standard" or (config.quoting == "auto" and usual == ",")
    delimiter = delimiter_of(path, usual, reading, quoted=quoted)
    read = _quoted_records if quoted else _plain_records
    return read(path, delimiter, reading), quoted


def _header(records: Iterator[Record], path: str, reading: Reading) -> tuple[int, Sequence[str]]:
    """(line, names) of the columns: the first record that is not blank, if the config does not name them."""
    names: Sequence[str] | None = reading.config.columns
    line = 1
    if names is None:
        line, names = next((record for record in records if record[1]), (1, []))
        if not names:
            raise DataError(f"{path}: the file is empty, without even a header row. Is this the right file?")
    _check_header(names, path, line, reading.config.encoding)
    return line, names


class _RecordLines:
    """The lines of a quoted file. Raises csv.Error if one record has more than `MAX_LINE_CHARS` characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.left = MAX_LINE_CHARS

    def __iter__(self) -> _RecordLines:
        return self

    def __next__(self) -> str:
        if not (line := self._stream.readline(self.left + 1)):
            raise StopIteration
        self.left -= len(line)
        if self.left < 0:
            raise csv.Error(f"more than {MAX_LINE_CHARS:,} characters")
        return line


def _quoted_records(path: str, delimiter: str, reading: Reading) -> Generator[Record, None, None]:
    with open_text(path, reading.config.encoding, "", reading.hashes) as stream:
        lines = _RecordLines(stream)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        try:
            for record in reader:
                yield line, record
                line = reader.line_num + 1
                lines.left = MAX_LINE_CHARS
        except csv.Error as fault:
            raise DataError(
                f"{path}:{line}: a quote in the row that begins here is not closed, or not doubled inside its "
                f"field (found at line {reader.line_num}: {fault}). If quotes are plain characters in this "
                f"file, set data.quoting: none"
            ) from None


def _plain_records(path: str, delimiter: str, reading: Reading) -> Generator[Record, None, None]:
    with open_lines(path, reading.config.encoding, reading.hashes) as lines:
        for line, text in enumerate(lines, 1):
            if len(text) > MAX_LINE_CHARS:
                raise DataError(
                    f"{path}:{line}: a row of more than {MAX_LINE_CHARS:,} characters is too long. Is it one row?"
                )
            yield line, text.split(delimiter) if text else []


def _without_blanks(records: Iterator[Record], width: int) -> Iterator[Record]:
    """Skip blank lines. With one column, a blank line before the last row is kept as an empty text."""
    blanks = 0
    for line, record in records:
        if record:
            yield from ((blank, [""]) for blank in range(line - blanks, line))
            blanks = 0
            yield line, record
        elif width == 1:
            blanks += 1


def _check_header(names: Sequence[str], path: str, line: int, encoding: str) -> None:
    for name in names:
        if fault := text_fault(name, "the header", encoding):
            raise DataError(f"{path}:{line}: {fault}")


def _wrong_width(found: int, wanted: int, reading: Reading, quoted: bool) -> str:
    named = "the header has" if reading.config.columns is None else "data.columns names"
    fields = "1 field" if found == 1 else f"{found} fields"
    if quoted:
        hint = "Is the delimiter (data.delimiter) right, and is every field that contains it in quotes?"
    else:
        hint = "Is the delimiter (data.delimiter) right? If the file quotes its fields, set data.quoting: standard"
    return f"{fields} where {named} {wanted}. {hint}"
