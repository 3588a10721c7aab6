"""Readers of JSON: one object per line, or one array of objects, each row with the line on which it starts.

The array is read by the standard library, one object at a time, and not by ijson: that reads in C but does not know the
line of an object, which every error here names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from lstm_cli.data.columns import BlankRows, Columns, missing_columns
from lstm_cli.data.files import MAX_LINE_CHARS, ends_lines_with_cr, open_lines, open_text, text_fault
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError

_CHUNK_CHARS = 2**16
_NEAR_THE_END = 16
"""A fault this close to the end of what is read so far may only be the end of it: \\uXXXX has six characters."""
_SPACE = " \t\r\n"
_ONE_A_LINE = ". Write each row as one object on one line, or all rows as one array"
_DECODER = json.JSONDecoder(strict=False)  # not strict: a raw tab inside a text is accepted


def read_json(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """Rows of a file with one JSON object per line, or with one array of objects. Blank lines are skipped.

    A line that is not an object with the needed columns becomes a row with an `error`. Raises DataError if it is the
    first line, and for an array that is not JSON, because what follows cannot be divided into rows.
    """
    rows = JsonRows(path, reading)
    if _is_array(path, reading.config.encoding):
        line_end = "\r" if ends_lines_with_cr(path, reading.config.encoding) else "\n"
        with open_text(path, reading.config.encoding, "", reading.hashes) as stream:
            for line, text, item in _Array(stream, path, line_end):
                yield from rows.row(
                    item, text_fault(text, "the object", reading.config.encoding, MAX_LINE_CHARS), line
                )
    else:
        with open_lines(path, reading.config.encoding, reading.hashes) as lines:
            for line, text in enumerate(lines, 1):
                if text := text.strip(_SPACE):
                    yield from rows.row(*_parsed(text, reading.config.encoding), line)
    rows.blank.say()


def _is_array(path: str, encoding: str) -> bool:
    """Whether the first character of the file, after white space, is a bracket."""
    with open_text(path, encoding, newline="") as stream:
        begin = ""
        while not begin and (chunk := stream.read(_CHUNK_CHARS)):
            begin = chunk.lstrip(_SPACE)
    return begin.startswith("[")


class JsonRows:
    """Makes rows of JSON values; objects may have their keys in any order."""

    def __init__(self, path: str, reading: Reading) -> None:
        self.blank = BlankRows(path, reading)
        self._path = path
        self._reading = reading
        self._names: tuple[str, ...] | None = None
        self._columns: Columns | None = None

    def row(self, item: object, fault: str | None, line: int) -> Iterator[Row[Any]]:
        """The row of a value; none if it is blank. Raises DataError if the first one has a fault."""
        if fault is None and not isinstance(item, dict):
            fault = f"a JSON {type(item).__name__} where an object is needed{_ONE_A_LINE}"
        if fault is None and isinstance(item, dict):
            if self.blank.skip(item.values()):
                return
            if tuple(item) != self._names:
                fault = missing_columns(tuple(item), self._reading, tuple(item.values()))
                if fault is None:
                    self._names = tuple(item)
                    self._columns = Columns(
                        self._names,
                        self._reading,
                        self._path,
                        f"{self._path}:{line}",
                        nested=True,
                        escapes=True,
                    )
            if fault is None and self._columns is not None:
                yield self._columns.row(tuple(item.values()), line)
                return
        if self._columns is None:
            raise DataError(f"{self._path}:{line}: {fault}")
        yield self._reading.broken(self._path, line, str(fault))


def _parsed(text: str, encoding: str) -> tuple[object, str | None]:
    """(the value, None), or (None, the error)."""
    if fault := text_fault(text, "the line", encoding, MAX_LINE_CHARS):
        return None, fault
    try:
        return json.loads(text, strict=False), None
    except json.JSONDecodeError as error:
        return (
            None,
            f"not JSON: {error.msg} at character {error.colno}{_ONE_A_LINE if text[0] in '[{' else ''}",
        )
    except (ValueError, RecursionError) as error:
        return None, f"not usable JSON: {error}"


class _Array:
    """Iterates over (line, text, value) of each element of a JSON array, with one element in memory at a time.

    Raises DataError, which names the line, for a file that is not one JSON array.
    """

    def __init__(self, stream: TextIO, path: str, line_end: str) -> None:
        self._stream = stream
        self._path = path
        self._line_end = line_end
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ends = False
        """Whether the whole file is in the buffer."""

    def __iter__(self) -> Iterator[tuple[int, str, object]]:
        self._expect("[")
        if self._peek() != "]":
            while True:
                self._peek()
                line = self._line
                value, end = self._element()
                text = self._buffer[self._at : end]
                self._move(end)
                yield line, text, value
                if self._peek() != ",":
                    break
                self._move(self._at + 1)
        self._expect("]")
        if self._peek():
            raise self._fault("something follows the array")

    def _element(self) -> tuple[object, int]:
        """The value that begins here, and where it ends in the buffer."""
        wanted = _CHUNK_CHARS
        while True:
            try:
                return _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                may_go_on = (
                    error.msg.startswith("Unterminated string")
                    or error.pos >= len(self._buffer) - _NEAR_THE_END
                )
                if self._ends or not may_go_on:
                    self._move(min(error.pos, len(self._buffer)))
                    raise self._fault(f"not JSON: {error.msg}") from None
            except (ValueError, RecursionError) as error:
                raise self._fault(f"not usable JSON: {error}") from None
            if len(self._buffer) - self._at > MAX_LINE_CHARS:
                raise self._fault(f"an object of more than {MAX_LINE_CHARS:,} characters. Is it one row?")
            self._read(wanted)
            wanted *= 2  # an object is parsed anew each time, so that long ones take linear time

    def _peek(self) -> str:
        """Skip white space; the next character, or "" at the end of the file."""
        while True:
            at = self._at
            while at < len(self._buffer) and self._buffer[at] in _SPACE:
                at += 1
            self._move(at)
            if at < len(self._buffer) or self._ends:
                return self._buffer[at : at + 1]
            self._read(_CHUNK_CHARS)

    def _expect(self, character: str) -> None:
        if (found := self._peek()) != character:
            raise self._fault(f"not JSON: expected {character} but found {found or 'the end of the file'}")
        self._move(self._at + 1)

    def _move(self, to: int) -> None:
        passed = self._buffer[self._at : to]
        self._line += passed.count(self._line_end)
        self._at = to

    def _read(self, count: int) -> None:
        """Append what follows to the buffer, and drop what is before the current place."""
        more = self._stream.read(count)
        self._ends = not more
        self._buffer = self._buffer[self._at :] + more
        self._at = 0

    def _fault(self, what: str) -> DataError:
        return DataError(f"{self._path}:{self._line}: {what}")
