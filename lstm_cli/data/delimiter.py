"""The character that separates the columns of a table, seen in its first lines."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Literal

from lstm_cli.data.columns import find_column
from lstm_cli.data.files import open_text
from lstm_cli.data.rows import Reading

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
"""The delimiters that are detected. Colons and spaces are not: they stand in every text."""
_PEEK_RECORDS, _PEEK_CHARS = 50, 2**18
_LOG = logging.getLogger(__name__)


def delimiter_of(path: str, usual: str, reading: Reading, *, quoted: bool) -> str:
    """`data.delimiter`, or the character that separates the columns of the file `path`; in doubt the `usual` one.

    The usual one it is if it makes a header with all columns that are needed. Another one is if it does, or if it
    divides the lines evenly and the usual one does not; that is logged.
    """
    config = reading.config
    if config.delimiter != "auto":
        return config.delimiter
    with open_text(path, config.encoding, newline="") as stream:
        sample = stream.read(_PEEK_CHARS)
    wanted = [name for _, name in reading.columns()]
    even = None
    for one in dict.fromkeys((usual, *DELIMITERS)):
        records = _records(sample, one, quoted=quoted)
        width = _width(records)
        fits = _has_columns(records, wanted) if config.columns is None else width == len(config.columns)
        if fits and (one == usual or len(records[0]) > 1):
            break
        even = even or (one if width > 1 and len(records[0]) == width else None)
    else:
        one = even or usual
    if one != usual:
        _LOG.info(f"{path}: {DELIMITERS[one]} separate the columns (data.delimiter sets another character)")
    return one


def likely_delimiter(lines: Sequence[str], among: Sequence[str] = tuple(DELIMITERS)) -> str | None:
    """The first delimiter that divides nine of ten lines into the same number of fields, at least two; or None."""
    filled = [line.replace("\r", " ") for line in lines if line]
    widths = {one: [next(csv.reader([line], delimiter=one), []) for line in filled] for one in among}
    return next((one for one in among if _width(widths[one]) > 1), None)


def _records(sample: str, delimiter: str, *, quoted: bool) -> list[list[str]]:
    """The first rows that are not blank, without the last one if the sample may have cut it."""
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, quoting=quoting)
    records = []
    with suppress(csv.Error):  # the reader of the rows says what is wrong, and where
        records = list(islice((record for record in reader if record), _PEEK_RECORDS))
    is_cut = len(sample) == _PEEK_CHARS and len(records) < _PEEK_RECORDS
    return records[:-1] if is_cut and len(records) > 1 else records


def _has_columns(records: Sequence[Sequence[str]], wanted: Sequence[str]) -> bool:
    try:
        return bool(records and wanted) and all(find_column(records[0], name) is not None for name in wanted)
    except ValueError:  # two columns have the name, so it is a header
        return True


def _width(records: Sequence[Sequence[str]]) -> int:
    """The number of fields that nine of ten rows have, or 0."""
    widths = [len(record) for record in records]
    usual = max(set(widths), key=widths.count, default=0)
    return usual if widths.count(usual) >= 0.9 * len(widths) else 0
