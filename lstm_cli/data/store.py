"""Encoded rows as flat arrays, memory-mapped from a cache that is keyed by what made them.

A store costs four bytes a token on disk and almost nothing in memory, however many rows it has.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Float32, Int32, Int64
from lstm_cli.batch import UNK_ID
from lstm_cli.data.durable import naming

_FILES = {
    "tokens": np.int32,
    "offsets": np.int64,
    "targets": np.int32,
    "truncated": np.bool_,
    "side_logits": np.float32,
}


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Row i is `tokens[offsets[i]:offsets[i + 1]]` (at least one), `targets[i]` (-1: not known), `truncated[i]`.

    `side_logits` (N, C) is what features beside the network say of each class; (N, 0) where there are none.
    """

    tokens: Int32
    offsets: Int64
    targets: Int32
    truncated: npt.NDArray[np.bool_]
    side_logits: Float32

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> Int64:
        """(N,) tokens in each row."""
        return np.diff(self.offsets)

    @property
    def median_length(self) -> int:
        return int(np.median(self.lengths))

    @property
    def unknown_share(self) -> float:
        """Share of the tokens that are not in the vocabulary."""
        return float((self.tokens == UNK_ID).mean())


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Some rows on their way into a store."""

    tokens: list[Int32]
    targets: list[int]
    truncated: list[bool]
    side_logits: Float32 | None = None

    def select(self, rows: Int64) -> EncodedRows:
        """These rows, by their numbers, in this order."""
        return EncodedRows(
            [self.tokens[i] for i in rows],
            [self.targets[i] for i in rows],
            [self.truncated[i] for i in rows],
            None if self.side_logits is None else self.side_logits[rows],
        )


def pack(rows: EncodedRows) -> TokenStore:
    """A store in memory, for a window of rows or a test."""
    offsets = np.zeros(len(rows.tokens) + 1, np.int64)
    np.cumsum([len(tokens) for tokens in rows.tokens], out=offsets[1:])
    tokens = np.concatenate(rows.tokens) if rows.tokens else np.zeros(0, np.int32)
    side_logits = (
        np.zeros((len(rows.tokens), 0), np.float32) if rows.side_logits is None else rows.side_logits
    )
    return TokenStore(
        tokens, offsets, np.array(rows.targets, np.int32), np.array(rows.truncated, np.bool_), side_logits
    )


def cache_folder() -> Path:
    """Where stores are cached: `$XDG_CACHE_HOME/lstmcls`, by default `~/.cache/lstmcls`. Safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lstmcls"


def cache_key(made_from: Any) -> str:
    """A name for whatever `made_from`, which JSON can hold, decides."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def cached(key: str, chunks: Iterable[EncodedRows]) -> TokenStore:
    """The store of this key, written from `chunks` the first time and memory-mapped from then on."""
    folder = cache_folder() / key
    if (store := _open(folder)) is not None:
        return store
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{key[:16]}-", dir=folder.parent))
    try:
        with naming(unfinished):
            _write(unfinished, chunks)
        shutil.rmtree(folder, ignore_errors=True)  # one that _open found damaged
        try:
            unfinished.rename(folder)
        except OSError:
            if _open(folder) is None:  # not merely another process that was quicker
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    store = _open(folder)
    assert store is not None
    return store


def cached_bytes(key: str, make: Callable[[], bytes]) -> bytes:
    """What `make` returned for this key the first time, in this process or another."""
    path = cache_folder() / f"{key}.bytes"
    try:
        content = path.read_bytes()
        if content[:32] == hashlib.sha256(content[32:]).digest():
            return content[32:]
    except OSError:
        pass  # not made yet
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{key[:16]}-{os.getpid()}")  # several trainings may start at once
    try:
        with naming(path):
            unfinished.write_bytes(hashlib.sha256(made).digest() + made)
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return made


def _write(folder: Path, chunks: Iterable[EncodedRows]) -> None:
    num_tokens = 0
    with (
        (folder / "tokens.bin").open("wb") as tokens,
        (folder / "offsets.bin").open("wb") as offsets,
        (folder / "targets.bin").open("wb") as targets,
        (folder / "truncated.bin").open("wb") as truncated,
        (folder / "side_logits.bin").open("wb") as side_logits,
    ):
        offsets.write(np.zeros(1, np.int64).tobytes())
        for chunk in chunks:
            packed = pack(chunk)
            tokens.write(packed.tokens.tobytes())
            offsets.write((packed.offsets[1:] + num_tokens).tobytes())
            targets.write(packed.targets.tobytes())
            truncated.write(packed.truncated.tobytes())
            side_logits.write(packed.side_logits.tobytes())
            num_tokens += len(packed.tokens)
        # a power cut must not leave the right size and zeros
        for file in (tokens, offsets, targets, truncated, side_logits):
            file.flush()
            os.fsync(file.fileno())
    sizes = {name: (folder / f"{name}.bin").stat().st_size for name in _FILES}
    (folder / "sizes.json").write_text(json.dumps(sizes), encoding="utf-8")


def _open(folder: Path) -> TokenStore | None:
    """The store in `folder`, or None where there is none or it is not whole."""
    try:
        sizes = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
        if any((folder / f"{name}.bin").stat().st_size != sizes[name] for name in _FILES):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    arrays: dict[str, Any] = {
        name: np.memmap(folder / f"{name}.bin", dtype, "r") if sizes[name] else np.zeros(0, dtype)
        for name, dtype in _FILES.items()
    }
    num_rows, flat = len(arrays["targets"]), arrays["side_logits"]
    arrays["side_logits"] = flat.reshape(num_rows, len(flat) // max(num_rows, 1))
    return TokenStore(**arrays)
