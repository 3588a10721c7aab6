"""Atomic writing: a file appears complete or not at all, and survives a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lstm_cli.errors import StorageError


def write_file(path: Path, content: bytes) -> None:
    """Replace `path` atomically: a reader sees the old content or the new. Raises StorageError if that fails."""
    with atomic_writer(path) as file:
        file.write(content)


@contextmanager
def atomic_writer(path: Path, encoding: str | None = None, errors: str | None = None) -> Iterator[IO[Any]]:
    """A stream of bytes, or of text if `encoding` is given, that replaces `path` at the end of the block.

    Raises StorageError if that fails; `path` then keeps its old content.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    text: dict[str, Any] = {"encoding": encoding, "errors": errors, "newline": ""} if encoding else {}
    try:
        with storage_errors(path):
            with temporary.open("w" if encoding else "wb", **text) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)  # the stream is closed: Windows does not rename an open file
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line to `path` and flush it to disk. Raises StorageError if it cannot be written."""
    with storage_errors(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the file names in `folder` to disk. On Windows, where a folder cannot be opened, it does nothing."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError in writing into a StorageError that names `path`.

    An OSError may not, such as that of a full disk.
    """
    try:
        yield
    except OSError as fault:
        raise StorageError(
            f"{path}: cannot be written: {fault.strerror or fault}; what was saved before is intact. "
            f"Is the disk full, or the folder write-protected?"
        ) from None
