"""Readers of files with columns: CSV, TSV, JSON Lines and Parquet, each row with the line on which it starts.

CSV is read by the standard library and not by pyarrow or `datasets`: those do not know the line of a row, which every
error here names, and they keep a block of rows in memory, this reader only one row. This costs little: splitting the
25,000 reviews (33 MB) of IMDB takes 0.12 s here and 0.03 s in pyarrow.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TextIO

from lstm_cli.data.columns import Columns, missing_columns
from lstm_cli.data.files import MAX_LINE_CHARS, PACKED, bounded_lines, naming, open_text, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError

csv.field_size_limit(MAX_LINE_CHARS)  # a long document has more than the default of 131,072 characters

Record = tuple[int, list[str]]
_BATCH_ROWS = 256
_BUFFER_BYTES = 2**16
_ONE_A_LINE = ". Write each row as one object on one line, without an array around them"


def read_delimited(path: str, reading: Reading, delimiter: Literal[",", "\t"]) -> Iterator[Row[Any]]:
    """Rows of a CSV or TSV file. A row with too few or too many fields has an `error`.

    Raises DataError for a file without a header, without a column that is needed, or with an unbalanced quote, because
    the text after such a quote cannot be divided into rows.
    """
    config = reading.config
    quoted = config.quoting == "standard" or (config.quoting == "auto" and delimiter == ",")
    with open_text(path, config.encoding, newline="" if quoted else "\n") as stream:
        read = _quoted_records if quoted else _plain_records
        records = read(stream, delimiter, path)
        names = config.columns
        line = 1
        if names is None:
            line, names = next((record for record in records if record[1]), (1, []))
            if not names:
                raise DataError(
                    f"{path}: the file is empty, without even a header row. Is this the right file?"
                )
        _check_header(names, path, line, config.encoding)
        columns = Columns(names, reading, path, f"{path}:{line}")
        for line, record in _without_blanks(records, len(names)):
            if len(record) == len(names):
                yield columns.row(record, line)
            else:
                yield reading.broken(path, line, _wrong_width(len(record), len(names), reading, quoted))


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


def _quoted_records(stream: TextIO, delimiter: str, path: str) -> Iterator[Record]:
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


def _plain_records(stream: TextIO, delimiter: str, path: str) -> Iterator[Record]:
    for line, text in enumerate(bounded_lines(stream), 1):
        if len(text) > MAX_LINE_CHARS:
            raise DataError(
                f"{path}:{line}: a row of more than {MAX_LINE_CHARS:,} characters is too long. Is it one row?"
            )
        text = text.removesuffix("\n").removesuffix("\r")
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
        hint = "Is the delimiter (data.format) right, and is every field that contains it in quotes?"
    else:
        hint = (
            "Is the delimiter (data.format) right? If the file quotes its fields, set data.quoting: standard"
        )
    return f"{fields} where {named} {wanted}. {hint}"


def read_jsonl(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a file with one JSON object per line. Blank lines are skipped.

    A line that is not an object with the needed columns becomes a row with an `error`. Raises DataError if it is the
    first line.
    """
    names: tuple[str, ...] | None = None
    columns = None
    with open_text(path, reading.config.encoding) as stream:
        for line, text in enumerate(bounded_lines(stream), 1):
            if not (text := text.strip(" \t\r\n")):
                continue
            item, fault = _json_object(text, reading.config.encoding)
            if fault is None and tuple(item) != names:
                fault = missing_columns(tuple(item), reading)
                if fault is None:
                    names = tuple(item)
                    columns = Columns(names, reading, path, f"{path}:{line}", escapes=True)
            if fault is None and columns is not None:
                yield columns.row(tuple(item.values()), line)
            elif columns is None and fault is not None:
                raise DataError(f"{path}:{line}: {fault}")
            else:
                yield reading.broken(path, line, str(fault))


def _json_object(text: str, encoding: str) -> tuple[dict[str, Any], str | None]:
    """(the object, None), or ({}, the error)."""
    if fault := text_fault(text, "the line", encoding, MAX_LINE_CHARS):
        return {}, fault
    try:
        item = json.loads(text, strict=False)  # not strict: a raw tab inside a text is accepted
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg} at character {error.colno}{_ONE_A_LINE if text[0] in '[{' else ''}"
    except (ValueError, RecursionError) as error:
        return {}, f"not usable JSON: {error}"
    if isinstance(item, dict):
        return item, None
    return {}, f"a JSON {type(item).__name__} where an object is needed{_ONE_A_LINE}"


def read_parquet(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a Parquet file, every value as text; `line` is the row's number.

    Raises DataError for another kind of file, and for one without a column that is needed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.lower().endswith(PACKED):
        raise DataError(
            f"{path}: a compressed Parquet file cannot be read: unpack it first (Parquet compresses its columns itself)"
        )
    try:
        # no read-ahead buffer: after 500,000 rows it had grown to 90 MB; this takes 5 MB
        with naming(path), pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            if fault := missing_columns(file.schema_arrow.names, reading):
                raise DataError(f"{path}: {fault}")
            yield from _parquet_rows(file, path, reading)
    except pa.ArrowException as fault:
        raise DataError(f"{path}: not a complete Parquet file: {fault}") from None


def _parquet_rows(file: Any, path: str, reading: Reading) -> Iterator[Row[Any]]:
    import pyarrow as pa

    wanted = None
    if not reading.keep_fields:
        wanted = list(dict.fromkeys(name for _, name in reading.content.columns(reading)))
    line = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
        columns = Columns(batch.schema.names, reading, path, path)
        values = [
            # as bytes, so that a text that is not UTF-8 is an error of its row and not of the file
            (column.cast(pa.large_binary()) if pa.types.is_string(column.type) else column).to_pylist()
            for column in batch.columns
        ]
        for row in zip(*values, strict=True):
            line += 1
            yield columns.row(row, line)
