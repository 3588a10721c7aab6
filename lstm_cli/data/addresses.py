"""Files that an address names, such as s3://bucket/rows.csv. The drivers are those of fsspec.

Such a file is read from its place each time that its rows are read, in blocks. Nothing is copied to the disk: a copy
would need room for all rows, and would have to be looked after.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lstm_cli.errors import ConfigError, DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_DRIVERS = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hdfs": "pyarrow",
    "http": "aiohttp",
    "https": "aiohttp",
    "memory": "fsspec",
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
"""The package that reads the addresses of each scheme. Only these: other schemes of fsspec unpack, run or cache."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+(?:::[^/]*)?)://")


def is_address(path: str) -> bool:
    """Whether `path` is an address and not the path of a file."""
    return _ADDRESS.match(path) is not None


def files_at(address: str, key: str) -> list[str]:
    """The files that an address names, sorted: itself, or the matches of its `*`.

    Raises DataError if there is none, ConfigError for another scheme or a driver that is not installed.
    """
    system, path = _opened(address, key)
    with _one_error(f"{key}{address}"):
        if "*" in path:
            matches = system.glob(path, detail=True).items()
            found = sorted(system.unstrip_protocol(name) for name, one in matches if one["type"] == "file")
            if not found:
                raise DataError(f"{key}no file matches {address}")
            return found
        if system.isfile(path):
            return [address]
        if system.isdir(path):
            raise DataError(f"{key}{address}: a folder; write a glob such as {address.rstrip('/')}/*.parquet")
    raise DataError(f"{key}no file {address}")


class AddressFile(io.RawIOBase):
    """The bytes of a file at an address. What the driver raises becomes an OSError.

    Opening it raises ConfigError as `files_at`.
    """

    def __init__(self, address: str) -> None:
        system, path = _opened(address, "")
        with _os_error():
            self._file = system.open(path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with _os_error():
            content = self._file.read(len(view))
        view[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _os_error():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _opened(address: str, key: str) -> tuple[Any, str]:
    """(the file system of fsspec, the path in it)."""
    found = _ADDRESS.match(address)
    assert found is not None, "the caller has looked"
    scheme = found[1].lower()
    if scheme not in _DRIVERS:
        raise ConfigError(
            f"{key}{address}: addresses of {scheme} are not read; known are {', '.join(_DRIVERS)}"
        )
    try:
        from fsspec.core import url_to_fs

        with _one_error(f"{key}{address}"):
            system, path = url_to_fs(address)
    except ImportError:
        package = _DRIVERS[scheme]
        raise ConfigError(
            f"{key}{address}: needs {package}, which is not installed; try pip install fsspec {package}"
            if package != "fsspec"
            else f"{key}{address}: needs fsspec, which is not installed; try pip install fsspec"
        ) from None
    return system, path


@contextmanager
def _one_error(where: str) -> Iterator[None]:
    """Turn what a driver raises into a DataError."""
    try:
        with _os_error():
            yield
    except OSError as fault:
        raise DataError(f"{where}: cannot be read: {fault}") from fault


@contextmanager
def _os_error() -> Iterator[None]:
    """Turn what a driver raises into an OSError."""
    try:
        yield
    except (OSError, ImportError, DataError):
        raise
    except Exception as fault:  # every driver has exceptions of its own
        raise OSError(f"{type(fault).__name__}: {fault}") from fault
