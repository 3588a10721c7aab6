"""The cache on disk: encoded rows, vocabularies and n-grams, each under a hash of everything that decides it.

Whatever is read from it is checked first. What is damaged is made again, and what cannot be kept is made in a temporary
folder, each with a warning.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from lstm_cli import __version__
from lstm_cli.data.durable import read_file, storage_errors
from lstm_cli.data.lock import held_and_deleted
from lstm_cli.data.store import Damaged, Store, open_store, write_store
from lstm_cli.errors import ConfigError, StorageError

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

LIMIT = "LSTMCLS_CACHE_GB"
_DEFAULT_LIMIT = "5"
_PATIENCE = 600.0
"""Seconds to wait for another process that makes the same entry. A dead one holds no lock, but one can be suspended."""
_OURS = re.compile(r"\.?(?P<name>[0-9a-f]{64}(\.bytes)?)(\.tmp)?")
"""The names of entries, and of those that a killed process has not finished. Nothing else is ever deleted."""

_MAX_BYTES = 2**34

_temporary: Path | None = None
_used: set[str] | None = None


def cache_folder() -> Path:
    """The folder of the cache: `$XDG_CACHE_HOME/lstmcls`, by default `~/.cache/lstmcls`. It is safe to delete.

    Raises StorageError if there is no home folder.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "lstmcls"
    try:
        return Path.home() / ".cache" / "lstmcls"
    except RuntimeError:  # no HOME, and no entry in the system's list of users, as in some containers
        raise StorageError("the cache: this user has no home folder") from None


def cache_key(inputs: Any) -> str:
    """The cache key of a result: a hash of the `inputs` that decide it, given as JSON values, and of this version."""
    return hashlib.sha256(json.dumps([__version__, inputs], sort_keys=True).encode()).hexdigest()


def cached(key: str, chunks: Callable[[], Iterable[Store]], below: Mapping[str, int] | None = None) -> Store:
    """The store with this key, memory-mapped. The first call writes all `chunks`, in this process or another.

    `below` has the limit of the whole numbers of `inputs` and `targets`: a store with others is made again.
    """
    limits = below or {}
    return _entry(
        key, lambda folder: open_store(folder, limits), lambda folder: write_store(folder, chunks())
    )


def cached_bytes(key: str, compute: Callable[[], bytes]) -> bytes:
    """The bytes with this key: `compute` is called only the first time, in this process or another."""

    def write(path: Path) -> None:
        computed = compute()
        with storage_errors(path):
            path.write_bytes(hashlib.sha256(computed).digest() + computed)

    return _entry(f"{key}.bytes", _read_bytes, write)


@contextmanager
def dropped_afterwards() -> Iterator[None]:
    """Delete every entry that was used inside the block at its end. An error keeps them, so that a run can be resumed.

    For a fold: its vocabulary is learned from the other folds, so no other training can use what it has cached.
    """
    global _used
    outer, _used = _used, set()
    try:
        yield
        used = _used
    finally:
        _used = outer
    folders = [_temporary] if _temporary else []
    with suppress(StorageError):
        folders.append(cache_folder())
    for folder in folders:
        for name in used:
            _delete(folder / name)


def _read_bytes(path: Path) -> bytes:
    content = read_file(path, _MAX_BYTES)
    if content[:32] != hashlib.sha256(content[32:]).digest():
        raise Damaged("its checksum differs")
    return content[32:]


def _entry(name: str, read: Callable[[Path], T], write: Callable[[Path], None]) -> T:
    """The entry: from the cache, from the temporary one of this process, or made in the first that can be written."""
    limit = _limit()
    if _used is not None:
        _used.add(name)
    try:
        folder = cache_folder()
        if (found := _look(folder / name, read)) is not None:
            return found
        if _temporary is None:
            return _made(folder, name, read, write, limit)
    except StorageError as fault:
        if _temporary is None:
            _begin_temporary(fault)
    assert _temporary is not None
    found = _look(_temporary / name, read)
    return _made(_temporary, name, read, write, limit) if found is None else found


def _look(path: Path, read: Callable[[Path], T]) -> T | None:
    """The entry, or None if it is missing or damaged."""
    try:
        found = read(path)
    except (OSError, Damaged):
        return None
    with suppress(OSError):  # a cache that can only be read
        os.utime(path)  # for `_evict`
    return found


def _made(
    folder: Path, name: str, read: Callable[[Path], T], write: Callable[[Path], None], limit: float
) -> T:
    """Make the entry, one process at a time. Raises StorageError if it cannot be written."""
    path, unfinished = folder / name, folder / f".{name}.tmp"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held_and_deleted(_lock(path), patience=_PATIENCE) as is_ours:
        if not is_ours:
            raise StorageError(
                f"{path}: another process has been writing it for {_PATIENCE / 60:.0f} minutes"
            )
        if os.path.lexists(path):
            try:
                return read(path)  # another process was faster
            except (OSError, Damaged) as fault:
                _LOG.warning("%s: damaged (%s), so it is made again", path, fault)
        try:
            _remove(unfinished)
            write(unfinished)
            _remove(path)
            with storage_errors(path):
                unfinished.rename(path)
            found = read(path)
        finally:
            _remove(unfinished)
    _evict(folder, name, limit)
    return found


def _evict(folder: Path, newest: str, limit: float) -> None:
    """Delete the entries that were not used for longest, until all together have at most `limit` bytes."""
    entries = []
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name):
            with suppress(OSError):  # another process has deleted it
                entries.append((path.stat().st_mtime, _size(path), path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        if path.name != newest and _delete(path):
            total -= size


def _delete(path: Path) -> bool:
    """Whether the entry is deleted. One that another process is making stays; so does one that is open on Windows.

    Elsewhere a process that has mapped its files keeps them.
    """
    found = _OURS.fullmatch(path.name)
    name = found["name"] if found else path.name
    try:
        with held_and_deleted(_lock(path.with_name(name))) as is_ours:
            if not is_ours:
                return False
            gone = path.with_name(f".{name}.tmp")
            if path != gone:
                _remove(gone)
                path.rename(gone)  # whole or not at all: half an entry would be called damaged
            _remove(gone)
            return True
    except (OSError, StorageError):
        return False


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _limit() -> float:
    """The maximum size of the cache in bytes."""
    value = os.environ.get(LIMIT) or _DEFAULT_LIMIT
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise ConfigError(
            f"{LIMIT}: must be the maximum size of the cache in gigabytes, got {value!r:.100}; try {_DEFAULT_LIMIT}"
        )
    return limit * 1e9


def _begin_temporary(fault: StorageError) -> None:
    """Make the temporary cache of this process, and say once why."""
    global _temporary
    with storage_errors(Path(tempfile.gettempdir())):
        _temporary = Path(tempfile.mkdtemp(prefix="lstmcls-"))
    atexit.register(shutil.rmtree, _temporary, ignore_errors=True)
    reason = str(fault).split("; what was saved", 1)[0]
    _LOG.warning(
        "%s; encoded rows are kept in %s until this command ends. To keep them longer, set XDG_CACHE_HOME to a folder "
        "that can be written",
        reason,
        _temporary,
    )
