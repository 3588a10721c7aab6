"""The cache of encoded rows: written once, mapped after, never half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lstm_cli.data.store import EncodedRows, TokenStore, cache_folder, cached, cached_bytes, pack
from lstm_cli.errors import StorageError

CHUNKS = [
    EncodedRows([np.array([2, 3], np.int32), np.array([1], np.int32)], [0, 1], [True, False]),
    EncodedRows([np.array([4, 5, 6], np.int32)], [1], [False]),
]


def contents(store: TokenStore) -> list[list[int]]:
    return [np.asarray(a).tolist() for a in (store.tokens, store.offsets, store.targets, store.truncated)]


def never() -> Iterator[EncodedRows]:
    raise AssertionError("the rows were encoded again")
    yield


def test_what_is_cached_is_what_was_encoded_in_however_many_chunks() -> None:
    store = cached("key", CHUNKS)
    assert contents(store) == [[2, 3, 1, 4, 5, 6], [0, 2, 3, 6], [0, 1, 1], [1, 0, 0]]
    assert store.lengths.tolist() == [2, 1, 3]
    assert store.unknown_share == pytest.approx(1 / 6)
    assert len(store) == 3


def test_the_second_time_nothing_is_encoded() -> None:
    first = cached("key", CHUNKS)
    assert contents(cached("key", never())) == contents(first)


def test_a_store_lies_mapped_on_disk_and_not_in_memory() -> None:
    assert isinstance(cached("key", CHUNKS).tokens, np.memmap)


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.bin", "targets.bin", "truncated.bin", "sizes.json"])
def test_a_damaged_cache_is_made_again(name: str) -> None:
    cached("key", CHUNKS)
    damaged = cache_folder() / "key" / name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert contents(cached("key", CHUNKS)) == contents(
        pack(
            EncodedRows(
                [t for c in CHUNKS for t in c.tokens],
                [t for c in CHUNKS for t in c.targets],
                [t for c in CHUNKS for t in c.truncated],
            )
        )
    )


def test_a_fault_while_encoding_leaves_no_store_behind() -> None:
    def broken() -> Iterator[EncodedRows]:
        yield CHUNKS[0]
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        cached("key", broken())
    assert list(cache_folder().iterdir()) == []
    assert len(cached("key", CHUNKS)) == 3


def test_the_cache_lies_where_the_environment_says(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache" / "lstmcls"


def test_bytes_are_made_once_and_made_again_when_damaged() -> None:
    calls: list[int] = []

    def make() -> bytes:
        calls.append(1)
        return b"some bytes"

    assert [cached_bytes("key", make), cached_bytes("key", make)] == [b"some bytes"] * 2
    assert len(calls) == 1
    (kept,) = cache_folder().iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"some", b"evil"))
    assert cached_bytes("key", make) == b"some bytes"
    kept.write_bytes(b"")
    assert cached_bytes("key", make) == b"some bytes"
    assert len(calls) == 3
    assert cached_bytes("another key", lambda: b"") == b""


def test_a_full_disk_is_named_and_leaves_nothing_half_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rows = EncodedRows([np.array([3, 4], np.int32)], [0], [False])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=f"{cache_folder()}.*cannot be written: No space left"):
            cached("0" * 64, [rows])
    assert list(cache_folder().iterdir()) == []
    assert cached("0" * 64, [rows]).tokens.tolist() == [3, 4]
