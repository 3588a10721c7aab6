"""Reading and writing whole files.

A file is read only if it is regular and not larger than its kind can be. A written file appears complete or not at all,
and survives a power cut.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lstm_cli.errors import StorageError

_STALE_SECONDS = 24 * 3600.0
"""A temporary file of unique name that nobody has written to for so long was left by a process that was killed."""
_BINARY: int = getattr(os, "O_BINARY", 0)  # of Windows, which would change line ends
_DO_NOT_WAIT: int = getattr(os, "O_NONBLOCK", 0)  # for the writer of a pipe


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file of at most `max_bytes`. Raises OSError for anything else.

    A pipe would be waited for, a device may never end, and a sparse file of no bytes on the disk can read as 5 GB.
    """
    with open_regular(path, max_bytes) as file:
        # not max_bytes at once: as many would be allocated, which a limit on memory refuses
        content: bytes = file.read(os.fstat(file.fileno()).st_size + 1)
        while len(content) <= max_bytes and (more := file.read(2**16)):  # it has grown
            content += more
    if len(content) > max_bytes:
        raise _too_large(path, len(content), max_bytes)
    return content


def open_regular(path: Path, max_bytes: int) -> IO[bytes]:
    """Open a regular file of at most `max_bytes` for reading. Raises OSError for anything else."""
    check_regular(path, path.stat(), max_bytes)  # opening a device may already do something
    handle = os.open(path, os.O_RDONLY | _BINARY | _DO_NOT_WAIT)
    try:
        check_regular(path, os.fstat(handle), max_bytes)  # it may have been replaced meanwhile
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def check_regular(path: Path, state: os.stat_result, max_bytes: int) -> None:
    """Raise OSError if `state` is not that of a regular file of at most `max_bytes`."""
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if state.st_size > max_bytes:
        raise _too_large(path, state.st_size, max_bytes)


def _too_large(path: Path, size: int, max_bytes: int) -> OSError:
    return OSError(
        errno.EFBIG, f"{size:,} bytes is too large for such a file (at most {max_bytes:,})", str(path)
    )


def odd_entry(folder: Path) -> Path | None:
    """The first entry below `folder` that is neither a file nor a folder: a link, a pipe, a device or a socket."""
    folders = [folder]
    while folders:  # a stranger's folders may be nested deeper than Python can recurse
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False):
                    return Path(entry.path)
    return None


def write_file(path: Path, content: bytes, *, shared: bool = False) -> None:
    """Replace `path` atomically: a reader sees the old content or the new. Raises StorageError if that fails.

    `shared`: several processes may do so at once, and the last one wins.
    """
    with atomic_writer(path, shared=shared) as file:
        file.write(content)


@contextmanager
def atomic_writer(
    path: Path, encoding: str | None = None, errors: str | None = None, *, shared: bool = False
) -> Iterator[IO[Any]]:
    """A stream of bytes, or of text if `encoding` is given, that replaces `path` at the end of the block.

    `shared`: several processes may do so at once, and the last one wins. Raises StorageError if that fails; `path` then
    keeps its old content.
    """
    # where a lock keeps other processes away, the next writer replaces what a killed one has left
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp" if shared else f".{path.name}.tmp")
    if shared:
        _delete_stale(path)
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


def _delete_stale(path: Path) -> None:
    """Delete the temporary files of `path` that processes have left which were killed long ago."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > _STALE_SECONDS:
                left.unlink()


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


def sync_below(folder: Path) -> None:
    """Flush all files and names below `folder`, and its own, to disk."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("r+b") as file:  # Windows flushes only what is open for writing
                os.fsync(file.fileno())


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
