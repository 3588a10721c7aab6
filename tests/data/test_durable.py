"""A file is the old one or the new one, and a fault of the disk names it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from lstm_cli.data.durable import append_line, atomic_writer, odd_entry, read_file, write_file
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


def test_a_file_is_read_up_to_its_limit_and_not_beyond(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\r\nabc")
    assert read_file(path, 5) == b"\r\nabc"
    with pytest.raises(OSError, match="5 bytes is too large for such a file") as caught:
        read_file(path, 4)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    os.truncate(path, 5 * 2**30)  # of zeros that take no room on the disk
    with pytest.raises(OSError, match="5,368,709,120 bytes"):
        read_file(path, 2**20)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            read_file(path, 100)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "b", 100)


def test_what_is_neither_file_nor_folder_is_found_at_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("needs named pipes")
    depth = 1_500  # deeper than Python recurses
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir("a")  # noqa: PTH102
        os.chdir("a")
    try:
        assert odd_entry(tmp_path) is None
    finally:
        for level in range(depth):  # pytest recurses when it cleans up
            os.chdir("..")
            if level < depth - 2:
                os.rmdir("a")  # noqa: PTH106
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "a" / "link").symlink_to(tmp_path)
    assert odd_entry(tmp_path) == tmp_path / "a" / "a" / "link"
    (tmp_path / "a" / "a" / "link").unlink()
    os.mkfifo(tmp_path / "a" / "pipe")
    assert odd_entry(tmp_path) == tmp_path / "a" / "pipe"


def test_two_writers_of_a_shared_file_do_not_meet_and_the_last_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "baselines.json"
    with atomic_writer(path, shared=True) as first, atomic_writer(path, shared=True) as second:
        first.write(b"first")
        second.write(b"the second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_left_by_a_killed_writer_of_a_shared_file_is_deleted_a_day_later(tmp_path: Path) -> None:
    path, old, new = (tmp_path / name for name in ("a[1]", ".a[1].01234567.tmp", ".a[1].89abcdef.tmp"))
    for left in (old, new):
        left.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_file(path, b"whole", shared=True)
    assert sorted(tmp_path.iterdir()) == sorted([path, new])
