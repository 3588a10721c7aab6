"""Parquet files: as rows, and as Arrow batches with the types of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lstm_cli.data.columns import BlankRows, Columns, distinct, find_column, missing_columns
from lstm_cli.data.files import PACKED, Hashes, open_in_any_order, readable
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError

_BATCH_ROWS = 256
_BUFFER_BYTES = 2**16


def read_parquet(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a Parquet file, every value as text; `line` is the row's number.

    Raises DataError for another kind of file, and for one without a column that is needed.
    """
    with open_parquet(path, reading.hashes) as file:
        yield from _parquet_rows(file, path, reading)


@contextmanager
def open_parquet(path: str, hashes: Hashes | None = None) -> Iterator[Any]:
    """The file as a pyarrow ParquetFile. Raises DataError for another kind of file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.lower().endswith(PACKED):
        raise DataError(
            f"{path}: a compressed Parquet file cannot be read: unpack it first (Parquet compresses its columns itself)"
        )
    try:
        # no read-ahead buffer: after 500,000 rows it had grown to 90 MB; this takes 5 MB
        with (
            open_in_any_order(path, hashes) as binary,
            pq.ParquetFile(binary, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file,
        ):
            yield file
    except pa.ArrowException as fault:
        raise DataError(f"{path}: not a complete Parquet file: {fault}") from None


def _parquet_rows(file: Any, path: str, reading: Reading) -> Iterator[Row[Any]]:
    import pyarrow as pa

    names = file.schema_arrow.names
    Columns(names, reading, path, path, nested=True)  # before anything is read: are the columns there?
    wanted = None
    if not reading.keep_fields:
        places = [find_column(names, name, nested=True) for _, name in reading.columns()]
        wanted = list(dict.fromkeys(names[place.at] for place in places if place is not None))
    blank = BlankRows(path, reading)
    reads_all = wanted is None or len(wanted) == len(names)  # else other cells of a row may hold something
    line = 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
        columns = Columns(batch.schema.names, reading, path, path, nested=True)
        values = [
            # as bytes, so that a text that is not UTF-8 is an error of its row and not of the file
            (column.cast(pa.large_binary()) if pa.types.is_string(column.type) else column).to_pylist()
            for column in batch.columns
        ]
        for row in zip(*values, strict=True):
            line += 1
            if reads_all and blank.skip(row):
                continue
            yield columns.row(row, line)
    blank.say()


def parquet_batches(path: str, hashes: Hashes | None = None) -> Iterator[Any]:
    """All rows of a Parquet file as Arrow batches of at most 256 rows. Raises DataError as `read_parquet`."""
    with open_parquet(path, hashes) as file:
        yield from file.iter_batches(batch_size=_BATCH_ROWS)


def kept_columns(path: str, reading: Reading) -> tuple[list[int], Any]:
    """(places, schema) of the columns that a prediction copies: all, or without those that are read as content.

    Raises DataError as `read_parquet`.
    """
    import pyarrow as pa

    with open_parquet(path) as file:
        schema = file.schema_arrow
    if fault := missing_columns(schema.names, reading, [None] * len(schema.names)):
        raise DataError(f"{path}: {fault}")
    names = distinct(map(readable, schema.names))
    left_out = set() if reading.keep_text else _content_columns(schema.names, reading)
    places = [at for at in range(len(names)) if at not in left_out]
    return places, pa.schema([schema.field(at).with_name(names[at]) for at in places])


def _content_columns(names: Sequence[str], reading: Reading) -> set[int]:
    """The places of the columns whose whole values are read as content."""
    found = [find_column(names, name, nested=True) for _, name in reading.content.columns(reading)]
    return {place.at for place in found if place is not None and not place.steps}
