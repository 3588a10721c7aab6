"""Locks between processes: one trains in a folder, one writes an output. A process that dies leaves none behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from lstm_cli.data.durable import naming
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.runs.folder import LOCK, holds_a_run, holds_more_than_a_start, link_in

_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and inside be the only process that trains in it.

    Raises LstmclsError where another one trains there, ConfigError where the folder cannot be made or is no run's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(
            f"{folder}: a file stands where the run's folder should be; try --run another-folder"
        ) from None
    if holds_more_than_a_start(folder) and not holds_a_run(folder):
        raise ConfigError(
            f"{folder}: not empty and not a run's folder, nothing is touched; try --run another-folder"
        )
    if link := link_in(folder):
        raise ConfigError(f"{link}: a link in the run's folder; take it out, or try --run another-folder")
    path = folder / LOCK
    holder = _holder(path)  # before: some releases of filelock empty the file when they open it
    with _held(path) as lock:
        if lock is None:
            raise LstmclsError(
                f"{folder}: another training runs in this folder (process {holder}); "
                f"wait for it, stop it, or try --run another-folder"
            )
        yield


@contextmanager
def sole_writer(path: Path, output: Path) -> Iterator[None]:
    """Inside be the only process that writes `output`, by the lock file `path`, which is gone afterwards.

    Raises LstmclsError where another one writes it.
    """
    with _held(path) as lock:
        if lock is None:
            raise LstmclsError(f"{output}: another process is writing it; wait for it, or try another -o")
        try:
            yield
        finally:
            # Under the lock, since afterwards the file may be another process's. Windows deletes no open file:
            # there the release does it.
            with suppress(OSError):
                path.unlink()


@contextmanager
def _held(path: Path) -> Iterator[FileLock | None]:
    """The lock, or None where another process holds it. A link at `path` is refused, not followed.

    Raises FileNotFoundError where its folder is not there, StorageError where the file cannot be made.
    """
    path.parent.stat()  # filelock would make a folder that is not there
    lock = FileLock(path)
    is_ours = True
    try:
        with naming(path):
            try:
                lock.acquire(blocking=False)
                if not isinstance(
                    lock, SoftFileLock
                ):  # where a system has no locks, filelock writes a record itself
                    _sign(path)
            except Timeout:  # an OSError too, but no fault of the disk
                is_ours = False
        yield lock if is_ours else None
    finally:
        lock.release()


def _sign(path: Path) -> None:
    """Write down which process holds the lock."""
    handle = os.open(path, os.O_WRONLY | _NO_FOLLOW)
    try:
        # Windows lets nobody touch the first byte, which is locked
        os.lseek(handle, 1, os.SEEK_SET)
        os.ftruncate(handle, 1 + os.write(handle, f"process {os.getpid()}\n".encode("ascii")))
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    """The number of the process that `_sign` wrote down, or "unknown"."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            found = re.match(rb"process (\d+)\n", file.read(40))
    except OSError:
        return "unknown"
    return found[1].decode("ascii") if found else "unknown"
