"""Readers of plain text: one document per line or per file, fastText's labelled lines, and streams such as stdin."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, BinaryIO, TextIO

from lstm_cli.data.files import (
    MAX_LINE_CHARS,
    MAX_TEXT_CHARS,
    Hashes,
    bounded_lines,
    decode,
    naming,
    open_lines,
    open_text,
    readable,
    sha256_of_file,
    text_fault,
    without_end,
)
from lstm_cli.data.rows import Reading, Row
from lstm_cli.errors import DataError

LABEL_PREFIX = "__label__"
_PAUSE_SECONDS = 0.02
"""A program that writes lines as fast as it can has shorter pauses; a person at a terminal does not notice one."""
_MOST_SECONDS = 0.25
"""The longest wait for rows without a pause: lines that come steadily, but slowly, are answered too."""
_MAX_ROWS_AHEAD = 8_192
_LABELS = re.compile(
    rf"\s*((?:{LABEL_PREFIX}\S*\s*)*)", re.ASCII
)  # ASCII: a no-break space does not separate labels

_OF_WINDOWS = {"thumbs.db", "desktop.ini"}


def read_stream(stream: BinaryIO, name: str, reading: Reading) -> Iterator[Row[Any]]:
    """One row per line, as soon as the line arrives, in constant memory. `stream` stays open."""
    text = decode(stream, reading.config.encoding)
    try:
        with naming(name):
            yield from rows_of_lines(_stream_lines(text), name, reading)
    finally:
        text.detach()


def as_they_come(
    read: Callable[[], Iterator[Row[Any]]], seconds: float = _PAUSE_SECONDS
) -> Iterator[Row[Any] | None]:
    """The rows of `read()`, and None after a row that is not followed by another one within `seconds`. Also
    after _MOST_SECONDS of waiting for rows in all.

    A thread reads them, at most some thousand ahead. If nobody takes them any more, it ends with the process.
    """
    waiting: SimpleQueue[Row[Any] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(_MAX_ROWS_AHEAD)

    def fill() -> None:
        end: BaseException | None = None
        try:
            for row in read():
                room.acquire()
                waiting.put(row)
        except BaseException as fault:  # noqa: BLE001 - raised again where the rows are taken
            end = fault
        waiting.put(end)

    threading.Thread(target=fill, name="stdin", daemon=True).start()
    paused = True  # before the first row there is nothing to say
    waited = 0.0
    while True:
        began = monotonic()
        try:
            row = waiting.get(timeout=None if paused else seconds)
        except Empty:
            paused = True
            yield None
            continue
        if row is None:
            return
        if isinstance(row, BaseException):
            raise row
        room.release()
        waited = 0.0 if paused else waited + monotonic() - began
        paused = False
        yield row
        if waited > _MOST_SECONDS:
            paused = True
            yield None


def _stream_lines(stream: TextIO) -> Iterator[str]:
    """The lines without their ends. If no `\\n` came before the end of the stream, `\\r` ends a line."""
    lines = bounded_lines(stream)
    for first in islice(lines, 1):
        if first.endswith("\n") or len(first) > MAX_LINE_CHARS:
            yield without_end(first)
        else:
            yield from first.removesuffix("\r").split("\r")
    yield from map(without_end, lines)


def read_lines(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """One row per line, also for an empty line."""
    with open_lines(path, reading.config.encoding, reading.hashes) as lines:
        yield from rows_of_lines(lines, path, reading)


def rows_of_lines(lines: Iterable[str], path: str, reading: Reading) -> Iterator[Row[Any]]:
    """One row per line of `path`, also for an empty line."""
    for line, text in enumerate(lines, 1):
        yield _row(text, None, path, line, "the line", reading)


def _row(
    text: str,
    label: str | None,
    path: str,
    line: int,
    place: str,
    reading: Reading,
    fields: dict[str, str] | None = None,
) -> Row[Any]:
    if fault := text_fault(text, place, reading.config.encoding):
        return reading.broken(path, line, fault, fields)
    return reading.row_of_text(text, label, path, line, fields)


def starts_with_label(path: str, encoding: str) -> bool:
    """Whether the first line of `path` that is not blank begins with a fastText label."""
    with open_lines(path, encoding) as lines:
        first = next((line for line in lines if line.strip()), "")
    return first.lstrip().startswith(LABEL_PREFIX)


def read_fasttext(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """One row per line such as `__label__positive a fine film`. Blank lines are skipped."""
    encoding = reading.config.encoding
    with open_lines(path, encoding, reading.hashes) as lines:
        for line, text in enumerate(lines, 1):
            if not text.strip():
                continue
            if fault := text_fault(text, "the line", encoding) or (reading.labelled and _label_fault(text)):
                yield reading.broken(path, line, fault)
                continue
            found = _LABELS.match(text)
            assert found is not None, "the pattern matches every line"
            label = found[1].strip().removeprefix(LABEL_PREFIX) if reading.labelled else None
            yield reading.row_of_text(text[found.end() :], label, path, line)


def _label_fault(text: str) -> str | None:
    found = _LABELS.match(text)
    labels = found[1].split() if found else []
    if not labels:
        return f"the line does not start with {LABEL_PREFIX}, so it has no label"
    if len(labels) > 1:
        return f"{len(labels)} labels on one line; more than one label per text is not supported yet"
    return "the label is empty" if labels[0] == LABEL_PREFIX else None


def class_folders(path: str) -> list[str]:
    """The names of the sub-folders of `path`, sorted, without hidden ones."""
    return sorted(child.name for child in Path(path).iterdir() if child.is_dir() and child.name[0] != ".")


def read_class_folders(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """One row for each file of `path`/CLASS/**, sorted by name, without hidden files and folders.

    Raises DataError for a folder without sub-folders.
    """
    classes = class_folders(path)
    if not classes:
        raise DataError(
            f"{path}: a folder without sub-folders. It needs one sub-folder for each class, with a file for each text, "
            f"or one text file for each class, with a text on each line; to read the files of a folder, write a glob "
            f"such as {Path(path) / '*.csv'}"
        )
    for label in classes:
        folder = Path(path) / label
        for name in files_below(str(folder)):
            yield _document(folder / name, readable(label), reading, None)


def read_documents(path: str, reading: Reading) -> Iterator[Row[Any]]:
    """One row for each file below `path`, sorted by name, with its relative path as the field `id`."""
    for name in files_below(path):
        yield _document(Path(path) / name, None, reading, {"id": readable(name)})


def _document(path: Path, label: str | None, reading: Reading, fields: dict[str, str] | None) -> Row[Any]:
    with open_text(str(path), reading.config.encoding, "", reading.hashes) as stream:
        text = stream.read(MAX_TEXT_CHARS + 1)
    return _row(text, label, str(path), 1, "the file", reading, fields)


def files_below(folder: str) -> list[str]:
    """The paths of the files below `folder`, relative to it and sorted, without hidden files and folders and those that
    Windows leaves.

    Raises DataError for anything but a regular file: opening a pipe, for example, could wait forever.
    """
    found, prefixes = [], [""]
    while prefixes:
        prefix = prefixes.pop()
        # in strings: a Path of each of 8,000 files takes twice as long as reading them
        with naming(folder), os.scandir(f"{folder}{os.sep}{prefix}") as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _OF_WINDOWS:
                    continue
                if entry.is_dir():
                    if not entry.is_symlink():
                        prefixes.append(f"{prefix}{entry.name}{os.sep}")
                elif entry.is_file():
                    found.append(f"{prefix}{entry.name}")
                else:
                    raise DataError(f"{Path(entry.path)}: not a regular file; move it out of the folder")
    return sorted(found)


def sha256_of_folder(folder: str, hashes: Hashes) -> str:
    """SHA-256 (hex) of the names and contents of the files below `folder`. Those in `hashes` are not read again."""
    digest = hashlib.sha256()
    root = str(Path(folder) / "x")[:-1]
    for name in files_below(folder):
        path = f"{root}{name}"
        digest.update(
            f"{hashes.get(path) or sha256_of_file(path)} {name}\n".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest()
