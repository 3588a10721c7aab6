"""A lock between processes, on a file. It ends with its process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from lstm_cli.data.durable import storage_errors

_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
FOREVER = -1.0
"""The patience to wait without end."""


@contextmanager
def held(path: Path, *, patience: float = 0) -> Iterator[bool]:
    """Whether this process holds the lock inside the block; False if another one still does after `patience` seconds.

    A link at `path` is refused, not followed. Raises FileNotFoundError if its folder does not exist, StorageError if
    the file cannot be written; then nothing of the lock is left.
    """
    path.parent.stat()  # filelock would create a missing folder
    lock = FileLock(path)
    is_ours = True
    try:
        with storage_errors(path):
            try:
                lock.acquire(timeout=patience)
                # without locks in the system, filelock keeps its own record in the file
                if not isinstance(lock, SoftFileLock):
                    _sign(path)
            except Timeout:  # Timeout is an OSError, but not an error of the disk
                is_ours = False
            except OSError:
                # a full disk has room for an empty file, but not for the number of the process
                if lock.is_locked and not path.is_symlink():
                    with suppress(OSError):
                        path.unlink()
                raise
        yield is_ours
    finally:
        lock.release()


@contextmanager
def held_and_deleted(path: Path, *, patience: float = 0) -> Iterator[bool]:
    """`held`; at the end of the block the lock file is deleted."""
    with held(path, patience=patience) as is_ours:
        try:
            yield is_ours
        finally:
            # Delete it while the lock is held: afterwards it may belong to another process. Windows does not delete an
            # open file; there the release deletes it.
            if is_ours:
                with suppress(OSError):
                    path.unlink()


def holder_of(path: Path) -> str:
    """The number of the process that holds the lock, or "unknown"."""
    if not path.is_file():  # to open a named pipe would wait for its writer
        return "unknown"
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            found = re.match(rb"process (\d+)\n", file.read(40))
    except OSError:
        return "unknown"
    return found[1].decode("ascii") if found else "unknown"


def _sign(path: Path) -> None:
    """Write the number of this process into the lock file."""
    handle = os.open(path, os.O_WRONLY | _NO_FOLLOW)
    try:
        # Windows locks the first byte, so it cannot be written
        os.lseek(handle, 1, os.SEEK_SET)
        os.ftruncate(handle, 1 + os.write(handle, f"process {os.getpid()}\n".encode("ascii")))
    finally:
        os.close(handle)
