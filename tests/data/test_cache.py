"""The cache on disk: made once, checked when read, one process at a time, never larger than allowed."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lstm_cli.arrays import AnyArray, Ragged
from lstm_cli.data import cache, store
from lstm_cli.data.cache import cache_folder, cache_key, cached, cached_bytes, dropped_afterwards
from lstm_cli.data.lock import held
from lstm_cli.data.store import Store, write_store
from lstm_cli.errors import ConfigError, StorageError

KEY, OTHER, THIRD = (cache_key(number) for number in range(3))
CHUNKS = [
    Store(Ragged.pack([np.array([2, 3], np.int32)]), np.array([True]), np.array([0], np.int32)),
    Store(Ragged.pack([np.array([4], np.int32)]), np.array([False]), np.array([1], np.int32)),
]
LIMITS = {"inputs": 5, "targets": 2}


@pytest.fixture(autouse=True)
def _no_temporary_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_temporary", None)


def stored(key: str = KEY, chunks: list[Store] = CHUNKS) -> Store:
    return cached(key, lambda: chunks, LIMITS)


def contents(found: Store) -> list[list[int]]:
    arrays = (found.inputs.values, found.inputs.offsets, found.known_targets, found.truncated)
    return [np.asarray(array).tolist() for array in arrays]


WHOLE = [[2, 3, 4], [0, 2, 3], [0, 1], [1, 0]]


def assert_said_once(caplog: pytest.LogCaptureFixture, message: str) -> None:
    (said,) = caplog.messages
    assert re.search(message, said), said
    caplog.clear()


def never() -> Iterator[Store]:
    raise AssertionError("the rows were encoded again")
    yield


def kept() -> set[str]:
    return {path.name for path in cache_folder().iterdir()}


def test_the_cache_lies_where_the_environment_says(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache" / "lstmcls"


def test_another_version_reads_nothing_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "__version__", "0.0.0")
    assert cache_key(0) != KEY


@pytest.mark.parametrize("name", ["inputs", "inputs.offsets", "targets", "truncated", "arrays.json"])
def test_every_flipped_byte_is_found_said_once_and_mended(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    stored()
    path = cache_folder() / KEY / (name if name.endswith("json") else f"{name}.bin")
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert contents(stored()) == WHOLE
        assert_said_once(caplog, f"{KEY}: damaged .*so it is made again")
        assert path.read_bytes() == content
    assert contents(cached(KEY, never, LIMITS)) == WHOLE


def wrong(
    ids: list[int], offsets: list[int], targets: list[int], truncated: list[bool]
) -> Callable[[], Store]:
    arrays: list[AnyArray] = [np.array(ids, np.int32), np.array(offsets), np.array(targets, np.int32)]
    return lambda: Store(Ragged(arrays[0], arrays[1]), np.array(truncated, np.bool_), arrays[2])


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (wrong([2, 3, 5], [0, 2, 3], [0, 1], [True, False]), "inputs"),
        (wrong([2, -1, 4], [0, 2, 3], [0, 1], [True, False]), "inputs"),
        (wrong([2, 3, 4], [0, 2, 3], [0, 2], [True, False]), "targets"),
        (wrong([2, 3, 4], [0, 2, 3], [0, -1], [True, False]), "targets"),
        (wrong([2, 3, 4], [0, 2, 4], [0, 1], [True, False]), "offsets"),
        (wrong([2, 3, 4], [0, 4, 3], [0, 1], [True, False]), "offsets"),
        (wrong([2, 3, 4], [1, 2, 3], [0, 1], [True, False]), "offsets"),
        (wrong([2, 3, 4], [0, 3, 3], [0, 1], [True, False]), "offsets"),
        (wrong([2, 3, 4], [0, 2, 3], [0], [True, False]), "targets"),
        (wrong([2, 3, 4], [0, 2, 3], [0, 1], [True]), "truncated"),
    ],
)
def test_values_out_of_range_are_found_behind_a_right_checksum(
    damage: Callable[[], Store], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache_folder().mkdir(parents=True)
    write_store(cache_folder() / KEY, [damage()])
    assert contents(stored()) == WHOLE
    assert_said_once(caplog, rf"damaged \(.*{name}")
    assert contents(cached(KEY, never, LIMITS)) == WHOLE


def test_bytes_are_made_once_and_made_again_when_damaged(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def make() -> bytes:
        calls.append(1)
        return b"some bytes"

    assert [cached_bytes(KEY, make), cached_bytes(KEY, make)] == [b"some bytes"] * 2
    assert len(calls) == 1
    (path,) = cache_folder().iterdir()
    for damaged in (path.read_bytes().replace(b"some", b"evil"), b""):
        path.write_bytes(damaged)
        assert cached_bytes(KEY, make) == b"some bytes"
        assert_said_once(caplog, "damaged")
    assert len(calls) == 3
    assert cached_bytes(OTHER, lambda: b"") == b""


def test_a_fault_while_encoding_leaves_no_store_behind() -> None:
    def broken() -> Iterator[Store]:
        yield CHUNKS[0]
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        cached(KEY, broken)
    with pytest.raises(ZeroDivisionError):
        cached_bytes(KEY, lambda: bytes(1 // 0))
    assert kept() == set()
    assert contents(stored()) == WHOLE


# --- a cache that cannot be written ------------------------------------------------------------------------------


def full_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = store._append

    def full(file: object, content: bytes) -> None:
        if Path(file.name).is_relative_to(folder):  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(file, content)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "_append", full)


def assert_goes_on_with_a_temporary_one(caplog: pytest.LogCaptureFixture) -> None:
    assert contents(stored()) == contents(stored(OTHER)) == contents(stored()) == WHOLE
    assert cached_bytes(KEY, lambda: b"some bytes") == b"some bytes"
    assert cached_bytes(KEY, lambda: bytes(1 // 0)) == b"some bytes"
    assert_said_once(caplog, "set XDG_CACHE_HOME")
    assert contents(cached(KEY, never, LIMITS)) == WHOLE


def test_a_full_disk_leaves_nothing_half_made_and_the_rows_go_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full_below(cache_folder(), monkeypatch)
    assert_goes_on_with_a_temporary_one(caplog)
    assert kept() == set()


def test_where_every_disk_is_full_the_error_names_the_folder(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full_below(Path("/"), monkeypatch)
    with pytest.raises(StorageError, match=r"lstmcls-.*cannot be written: No space left"):
        stored()
    assert_said_once(caplog, r"cannot be written: No space left.*XDG_CACHE_HOME")
    assert kept() == set()


def test_a_folder_that_cannot_be_made_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_goes_on_with_a_temporary_one(caplog)


def test_a_user_without_a_home_has_a_temporary_cache(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pwd = pytest.importorskip("pwd")

    def nobody(number: int) -> None:
        raise KeyError(number)

    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert_goes_on_with_a_temporary_one(caplog)


def test_the_temporary_cache_is_gone_when_the_command_ends(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    program = (
        "from lstm_cli.data import cache; cache.cached_bytes('key', lambda: b''); print(cache._temporary)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()).parent == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


# --- several processes -------------------------------------------------------------------------------------------


RACE = """
import sys, time
import numpy as np
from lstm_cli.arrays import Ragged
from lstm_cli.data.cache import cached, cache_folder
from lstm_cli.data.store import Store
def chunks():
    print("made", flush=True)
    for number in range(3):
        time.sleep(0.002)
        yield Store(Ragged.pack([np.full(1000, number, np.int32)]), np.zeros(1, np.bool_))
print("ready", flush=True)
for line in sys.stdin:
    store = cached(line.strip(), chunks)
    assert store.inputs.values.tolist() == [0] * 1000 + [1] * 1000 + [2] * 1000
    print("done", flush=True)
"""


def test_of_two_processes_at_once_one_makes_the_store_and_both_read_it() -> None:
    """20 rounds. In the odd ones a damaged store is there already, which both of them want to replace."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for number in range(20):
            key = cache_key(number)
            if number % 2:
                (cache_folder() / key).mkdir(parents=True)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{key}\n")
                process.stdin.flush()
            said: list[str] = []
            for process in processes:
                assert process.stdout is not None
                said += iter(process.stdout.readline, "done\n")
            assert said == ["made\n"]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert kept() == {cache_key(number) for number in range(20)}


def test_a_process_that_never_ends_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "_PATIENCE", 0.1)
    cache_folder().mkdir(parents=True)
    with held(cache_folder() / f".{KEY}.lock"):
        assert contents(stored()) == WHOLE
    assert_said_once(caplog, "another process has been")


def test_what_a_killed_process_left_is_replaced() -> None:
    unfinished = cache_folder() / f".{KEY}.tmp"
    unfinished.mkdir(parents=True)
    (unfinished / "inputs.bin").write_bytes(b"half")
    (cache_folder() / f".{KEY}.lock").write_bytes(b"\0process 1\n")
    assert contents(stored()) == WHOLE
    assert kept() == {KEY}


# --- the size of the cache ---------------------------------------------------------------------------------------


def test_the_least_recently_used_entries_go(monkeypatch: pytest.MonkeyPatch) -> None:
    stored()
    stored(OTHER)
    cached_bytes(OTHER, lambda: b"x" * 100)
    (cache_folder() / "notes.txt").write_bytes(b"x" * 10_000)
    (cache_folder() / f".{THIRD}.tmp").mkdir()  # left by a killed process
    for age, name in enumerate([KEY, f"{OTHER}.bytes", f".{THIRD}.tmp", OTHER]):
        os.utime(cache_folder() / name, (1_000 - age, 1_000 - age))
    stored()  # used: now the newest
    size = sum(file.stat().st_size for file in (cache_folder() / KEY).iterdir())
    monkeypatch.setenv("LSTMCLS_CACHE_GB", str((2 * size + 140) / 1e9))
    stored(THIRD)
    assert kept() == {KEY, THIRD, f"{OTHER}.bytes", "notes.txt"}
    monkeypatch.setenv("LSTMCLS_CACHE_GB", "0")
    assert contents(stored(OTHER)) == WHOLE
    assert kept() == {OTHER, "notes.txt"}


def test_an_entry_that_another_process_makes_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSTMCLS_CACHE_GB", "0")
    stored()
    with held(cache_folder() / f".{KEY}.lock"):
        stored(OTHER)
    assert kept() == {KEY, OTHER, f".{KEY}.lock"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not delete an open file")
def test_a_store_that_is_in_use_stays_readable_when_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSTMCLS_CACHE_GB", "0")
    found = stored()
    stored(OTHER)
    assert kept() == {OTHER}
    assert contents(found) == WHOLE


@pytest.mark.parametrize("value", ["much", "-1", "nan"])
def test_a_size_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSTMCLS_CACHE_GB", value)
    with pytest.raises(ConfigError, match=f"LSTMCLS_CACHE_GB: must be .* got '{value}'"):
        stored()


def test_what_is_dropped_afterwards_is_what_was_used_and_only_without_an_error() -> None:
    stored()
    with pytest.raises(ZeroDivisionError), dropped_afterwards():
        cached_bytes(OTHER, lambda: bytes(len(stored(OTHER)) // 0))
    assert kept() == {KEY, OTHER}
    with dropped_afterwards():
        stored(OTHER)
        stored(THIRD)
        cached_bytes(THIRD, lambda: b"")
    assert kept() == {KEY}
