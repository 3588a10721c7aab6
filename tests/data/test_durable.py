"""A file is the old one or the new one, and a fault of the disk names it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lstm_cli.data.durable import append_line, write_file
from lstm_cli.errors import LstmclsError


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"old")
    write_file(path, b"new")
    append_line(path, " and more")
    assert path.read_bytes() == b"new and more\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("fails_at", [1, 2])
def test_where_the_disk_fails_the_old_file_stays_and_the_new_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fails_at: int
) -> None:
    path = tmp_path / "a"
    write_file(path, b"old")
    calls = 0
    sync = os.fsync

    def fail(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LstmclsError, match=f"{path}: cannot be written: {os.strerror(number)}"):
        write_file(path, b"new")
    # the second is of the folder: then the new file stands, and may or may not outlive a power cut
    assert path.read_bytes() == (b"old" if fails_at == 1 else b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_every_byte_is_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def record_sync(handle: int) -> None:
        sync(handle)
        done.append("folder" if os.path.isdir(f"/dev/fd/{handle}") else "file")  # noqa: PTH112

    def record_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_file(tmp_path / "a", b"new")
    assert done == ["file", "rename", "folder"]
