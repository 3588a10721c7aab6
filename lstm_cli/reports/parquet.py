"""Predictions as a Parquet file: first drafted as JSON Lines, then written in groups of rows.

The rows of a Parquet file are found by the footer at its end, so a file that was begun cannot be continued. A draft in
JSON Lines can. It holds the predictions, and the input's columns as text. If the input is Parquet, it holds the
predictions only: the input's columns are copied from the input, with their types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO

from lstm_cli.data.parquet import open_parquet, parquet_batches
from lstm_cli.errors import DataError
from lstm_cli.reports.predictions import flat, refuse_other_columns, write_json_lines

_GROUP_ROWS = 65_536
_GROUP_BYTES = 2**26
"""Limits of a group of rows, which is in memory at a time."""
_CHUNK_LINES = 256
_CHUNK_CHARS = 2**22


@dataclass(frozen=True, slots=True)
class Draft:
    """The rows of a table as JSON Lines. `columns` are filled by `begin`, or known from an earlier start."""

    stream: TextIO
    columns: list[str]

    def begin(self, columns: Iterable[str]) -> None:
        """Set the columns."""
        self.columns.extend(dict.fromkeys(columns))

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write lines. Raises LstmclsError for a line with other columns."""
        for line in lines:
            refuse_other_columns(line["row"], flat(line), self.columns)
        write_json_lines(lines, self.stream)


def prediction_schema(columns: Sequence[str], example: Mapping[str, Any]) -> Any:
    """The Arrow schema of these columns of a draft; their types are those of the flat prediction `example`."""
    import pyarrow as pa

    fixed = {"row": pa.int64(), "truncated": pa.bool_(), "unknown": pa.float64()}

    def type_of(name: str) -> Any:
        if name in fixed:
            return fixed[name]
        value = example.get(name)
        if isinstance(value, bool):
            return pa.bool_()
        return pa.float64() if isinstance(value, int | float) else pa.string()

    return pa.schema([(name, type_of(name)) for name in columns])


def arrow_batch(lines: Sequence[Mapping[str, Any]], schema: Any) -> Any:
    """N predictions as an Arrow batch with this schema: (N rows, a column for each name)."""
    import pyarrow as pa

    rows = [flat(line) for line in lines]
    return pa.RecordBatch.from_arrays(
        [pa.array([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )


def write_parquet(file: IO[bytes], draft: Path, schema: Any) -> None:
    """Write the rows of a draft as a Parquet file with this schema."""
    with draft.open(encoding="utf-8", newline="\n") as lines, _groups(file, schema) as groups:
        while chunk := list(_chunk(lines)):
            groups.add(arrow_batch(chunk, schema))


def write_parquet_beside(
    file: IO[bytes], draft: Path, schema: Any, inputs: Iterable[Any], copied: Sequence[Any]
) -> None:
    """Write the rows of a draft with this schema, each with the columns of its input row.

    `inputs` are Arrow batches with as many rows as the draft has; `copied` are the fields that their
    columns get.
    """
    import pyarrow as pa

    whole = pa.schema([*schema, *copied])
    with draft.open(encoding="utf-8", newline="\n") as lines, _groups(file, whole) as groups:
        for batch in inputs:
            ours = arrow_batch([json.loads(line) for line in islice(lines, len(batch))], schema)
            groups.add(pa.RecordBatch.from_arrays([*ours.columns, *batch.columns], schema=whole))


def join_parquet(file: IO[bytes], paths: Sequence[Path]) -> None:
    """Write the rows of all these Parquet files as one. Raises DataError if they do not have the same columns."""
    schemas = []
    for path in paths:
        with open_parquet(str(path)) as part:
            schemas.append(part.schema_arrow)
        if not schemas[-1].equals(schemas[0]):
            raise DataError(f"{path}: has other columns or types than {paths[0]}")
    with _groups(file, schemas[0]) as groups:
        for path in paths:
            for batch in parquet_batches(str(path)):
                groups.add(batch)


def _chunk(lines: TextIO) -> Iterator[dict[str, Any]]:
    """The next lines, until they are many or long."""
    chars = 0
    for line in islice(lines, _CHUNK_LINES):
        yield json.loads(line)
        chars += len(line)
        if chars >= _CHUNK_CHARS:
            return


class _Groups:
    """Collects Arrow batches into groups of rows, and writes each group when it is full."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._batches: list[Any] = []
        self._num_rows = self._num_bytes = 0

    def add(self, batch: Any) -> None:
        """Add a batch."""
        self._batches.append(batch)
        self._num_rows += len(batch)
        self._num_bytes += batch.nbytes
        if self._num_rows >= _GROUP_ROWS or self._num_bytes >= _GROUP_BYTES:
            self.write()

    def write(self) -> None:
        """Write what has been collected."""
        import pyarrow as pa

        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches))
        self._batches, self._num_rows, self._num_bytes = [], 0, 0


@contextmanager
def _groups(file: IO[bytes], schema: Any) -> Iterator[_Groups]:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, schema) as writer:
        groups = _Groups(writer)
        yield groups
        groups.write()
