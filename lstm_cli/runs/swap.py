"""Folders that are replaced as a whole, such as those of evaluations.

Only Linux can exchange two folders in one step. So the new folder is written under a unique hidden name, flushed to
disk, and swapped in by two renames: `eval/test` becomes `eval/.test.old`, then the new folder becomes `eval/test`. A
process that is killed between the two leaves only `.test.old`; the next reader or writer puts it back. One process at a
time replaces a folder, so all hidden names that are there when it takes the lock were left by a killed one.
"""

from __future__ import annotations

import glob
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lstm_cli.data.durable import read_file, storage_errors, sync_below, sync_folder
from lstm_cli.runs.lock import waited_lock

_MOST_READINGS = 100


@contextmanager
def replaced_folder(folder: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """A new folder to write to. At the end of the block it takes the place of `folder`.

    If the block raises, or the process is killed, `folder` stays as it was. While another process replaces it, this one
    waits, and says so. Raises StorageError if the folder cannot be written.
    """
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with waited_lock(_lock(folder), folder, say):
        _settle(folder)
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.new"):
            shutil.rmtree(left, ignore_errors=True)
        new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.new")
        try:
            with storage_errors(folder):
                new.mkdir()
            yield new
            with storage_errors(folder):
                sync_below(new)
                if folder.exists():
                    folder.rename(_aside(folder))
                new.rename(folder)
                sync_folder(folder.parent)
        finally:
            _settle(folder)
            shutil.rmtree(new, ignore_errors=True)  # it is still there only after an error


def settled(folder: Path) -> Path:
    """`folder`, put back if a process was killed while it replaced it."""
    if not folder.exists() and _aside(folder).exists():
        with waited_lock(_lock(folder), folder):
            _settle(folder)
    return folder


def read_together(folder: Path, most_bytes: Mapping[str, int]) -> list[bytes]:
    """The contents of these files of `folder`, all from before a replacement or all from after it.

    Raises OSError, also for a file of more than its `most_bytes`.
    """
    for _ in range(_MOST_READINGS):
        try:
            before = settled(folder).stat().st_ino
            contents = [read_file(folder / name, most) for name, most in most_bytes.items()]
            if folder.stat().st_ino == before:
                return contents
        except FileNotFoundError:
            # either it was replaced in this moment, or the file does not exist
            if folder.exists() and not all((folder / name).exists() for name in most_bytes):
                raise
            time.sleep(0.01)
    raise OSError(f"{folder}: is replaced all the time")


def _settle(folder: Path) -> None:
    """Undo half a replacement, and delete what a finished one has left."""
    aside = _aside(folder)
    with suppress(OSError):
        if not folder.exists():
            aside.rename(folder)
        elif aside.exists():
            shutil.rmtree(aside)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")
