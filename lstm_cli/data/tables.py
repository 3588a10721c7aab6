"""Readers of files with columns: CSV, TSV, JSON Lines and Parquet, each row with the line on which it starts.

CSV goes through the standard library and not through pyarrow or `datasets`, because neither of those can
tell the line of a row, and every error here names one; and because they hold a block of rows where this holds
one. It costs little: splitting the 25,000 reviews (33 MB) of IMDB takes 0.12 s here and 0.03 s in pyarrow.
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

csv.field_size_limit(MAX_LINE_CHARS)  # the default of 131,072 characters is less than one long document has

Record = tuple[int, list[str]]
_BATCH_ROWS = 256
_BUFFER_BYTES = 2**16
_ONE_A_LINE = ". Write each row as one object on one line, with no array around them"


def read_delimited(path: str, reading: Reading, delimiter: Literal[",", "\t"]) -> Iterator[Row[Any]]:
    """Rows of a CSV or TSV file. A row with too few or too many fields carries its `error`.

    Raises DataError for a file without a header, without the columns that are needed, or with an unbalanced
    quote: what follows such a quote cannot be trusted.
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
                raise DataError(f"{path}: empty: not even a header row. Is it the right file?")
        _check_header(names, path, line, config.encoding)
        columns = Columns(names, reading, path, f"{path}:{line}")
        for line, record in _without_blanks(records, len(names)):
            if len(record) == len(names):
                yield columns.row(record, line)
            else:
                yield reading.broken(path, line, _wrong_width(len(record), len(names), reading, quoted))


class _RecordLines:
    """The lines of a quoted file; raises csv.Error where those of one record are longer than `MAX_LINE_CHARS`."""

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
            f"field (read on to line {reader.line_num}: {fault}). If quotes are plain characters in this "
            f"file, set data.quoting: none"
        ) from None


def _plain_records(stream: TextIO, delimiter: str, path: str) -> Iterator[Record]:
    for line, text in enumerate(bounded_lines(stream), 1):
        if len(text) > MAX_LINE_CHARS:
            raise DataError(f"{path}:{line}: more than {MAX_LINE_CHARS:,} characters are no row")
        text = text.removesuffix("\n").removesuffix("\r")
        yield line, text.split(delimiter) if text else []


def _without_blanks(records: Iterator[Record], width: int) -> Iterator[Record]:
    """Leave out blank lines; but with one column, a blank line before the last row is an empty text."""
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
        hint = "Is the delimiter (data.format) right, and is every field that holds one in quotes?"
    else:
        hint = (
            "Is the delimiter (data.format) right? If the file quotes its fields, set data.quoting: standard"
        )
    return f"{fields} where {named} {wanted}. {hint}"


def read_jsonl(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a file with one JSON object a line; blank lines are no rows.

    Raises DataError where already the first line is no object with the columns that are needed; a later one
    carries its `error`.
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
    """The object, or {} and why there is none."""
    if fault := text_fault(text, "the line", encoding, MAX_LINE_CHARS):
        return {}, fault
    try:
        item = json.loads(text, strict=False)  # not strict: a raw tab inside a text is no reason to lose it
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg} at character {error.colno}{_ONE_A_LINE if text[0] in '[{' else ''}"
    except (ValueError, RecursionError) as error:
        return {}, f"not usable JSON: {error}"
    if isinstance(item, dict):
        return item, None
    return {}, f"a JSON {type(item).__name__} where an object is needed{_ONE_A_LINE}"


def read_parquet(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a Parquet file, every value as text; `line` is the row's number.

    Raises DataError for what is no Parquet file or lacks the columns that are needed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.lower().endswith(PACKED):
        raise DataError(f"{path}: Parquet is read from its end and packs itself: unpack this file first")
    try:
        # not buffered ahead: by the end of 500,000 rows that had come to hold 90 MB, and this holds 5 MB
        with naming(path), pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            if fault := missing_columns(file.schema_arrow.names, reading):
                raise DataError(f"{path}: {fault}")
            yield from _parquet_rows(file, path, reading)
    except pa.ArrowException as fault:
        raise DataError(f"{path}: not a whole Parquet file: {fault}") from None


def _parquet_rows(file: Any, path: str, reading: Reading) -> Iterator[Row[Any]]:
    import pyarrow as pa

    wanted = None
    if not reading.keep_fields:
        wanted = list(dict.fromkeys(name for _, name in reading.content.columns(reading)))
    line = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
        columns = Columns(batch.schema.names, reading, path, path)
        values = [
            # as bytes, so that text that is no UTF-8 is the fault of its row and not of the file
            (column.cast(pa.large_binary()) if pa.types.is_string(column.type) else column).to_pylist()
            for column in batch.columns
        ]
        for row in zip(*values, strict=True):
            line += 1
            yield columns.row(row, line)
