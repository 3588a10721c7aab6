"""Locks between processes: one process per run folder and per output file. A lock ends with its process."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from lstm_cli.data.durable import odd_entry, storage_errors
from lstm_cli.errors import ConfigError, LstmclsError
from lstm_cli.runs.folder import LOCK, has_results, holds_a_run

_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder; inside the block no other process can train in it.

    Raises LstmclsError if another process trains in it, ConfigError if it cannot be created or is not a run's folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(
            f"{folder}: is a file, and the run needs a folder of that name; try --run another-folder"
        ) from None
    if has_results(folder) and not holds_a_run(folder):
        raise ConfigError(
            f"{folder}: not empty and not a run's folder, so nothing was changed; try --run another-folder"
        )
    if odd := odd_entry(folder):
        what = "a link" if odd.is_symlink() else "a pipe or a device"
        raise ConfigError(f"{odd}: {what} in the run's folder; remove it, or try --run another-folder")
    path = folder / LOCK
    holder = _holder(path)  # read first: some releases of filelock empty the file when they open it
    with _held(path) as lock:
        if lock is None:
            raise LstmclsError(
                f"{folder}: another training runs in this folder (process {holder}); "
                f"wait for it, stop it, or try --run another-folder"
            )
        yield


@contextmanager
def sole_writer(path: Path, output: Path) -> Iterator[None]:
    """Inside the block no other process can write `output`. The lock file `path` is deleted afterwards.

    Raises LstmclsError if another process writes it.
    """
    with _held(path) as lock:
        if lock is None:
            raise LstmclsError(
                f"{output}: another process is writing it; wait for that process, or try another -o"
            )
        with _deleted_at_the_end(path):
            yield


@contextmanager
def waited_lock(path: Path, written: Path, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Inside the block no other process can write `written`; if one does, wait for it, and `say` so.

    The lock file `path` is deleted afterwards. Raises StorageError if it cannot be written.
    """
    with ExitStack() as stack:
        if stack.enter_context(_held(path)) is None:
            if say:
                say(f"{written}: another process is writing it (process {_holder(path)}); waiting for it")
            stack.enter_context(_held(path, wait=True))
        stack.enter_context(_deleted_at_the_end(path))
        yield


@contextmanager
def _deleted_at_the_end(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        # Delete it while the lock is held: afterwards it may belong to another process. Windows does not delete an open
        # file; there the release deletes it.
        with suppress(OSError):
            path.unlink()


@contextmanager
def _held(path: Path, *, wait: bool = False) -> Iterator[FileLock | None]:
    """The lock, or None if another process holds it. A link at `path` is refused, not followed.

    With `wait` it is never None. Raises FileNotFoundError if its folder does not exist, StorageError if the file cannot
    be written; then nothing of the lock is left.
    """
    path.parent.stat()  # filelock would create a missing folder
    lock = FileLock(path)
    is_ours = True
    try:
        with storage_errors(path):
            try:
                lock.acquire(blocking=wait)
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
        yield lock if is_ours else None
    finally:
        lock.release()


def _sign(path: Path) -> None:
    """Write the number of this process into the lock file."""
    handle = os.open(path, os.O_WRONLY | _NO_FOLLOW)
    try:
        # Windows locks the first byte, so it cannot be written
        os.lseek(handle, 1, os.SEEK_SET)
        os.ftruncate(handle, 1 + os.write(handle, f"process {os.getpid()}\n".encode("ascii")))
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    """The process number that `_sign` wrote, or "unknown"."""
    if not path.is_file():  # to open a named pipe would wait for its writer
        return "unknown"
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            found = re.match(rb"process (\d+)\n", file.read(40))
    except OSError:
        return "unknown"
    return found[1].decode("ascii") if found else "unknown"
