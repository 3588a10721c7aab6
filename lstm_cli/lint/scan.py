"""One pass over every source into a table of numbers: about 170 bytes per row, for contents of any length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Int64, Mask, UInt16
from lstm_cli.data.duplicates import NUM_HASHES, signatures
from lstm_cli.data.rows import Content, Row
from lstm_cli.data.sources import DataConfig, Splits
from lstm_cli.data.text import Text
from lstm_cli.data.words import words
from lstm_cli.errors import DataError
from lstm_cli.lint.text import Mark, marks

_WORDS_AT_ONCE = 200_000
_SHOWN_FAULTS = 3

COLUMNS = np.dtype(
    [
        ("exact", "u8"),  # hash of the unchanged text; for another content, of its key
        ("folded", "u8"),  # hash of the words; equal to `exact` if there are none
        ("line", "u4"),
        ("path", "i4"),
        ("label", "i4"),  # -1 if there is none
        ("size", "i4"),  # number of words; for another content, its size
        ("marks", "u2"),
        ("source", "i1"),
    ]
)
Table = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a training would stop at a source: `count` rows, or the source as a whole, with (where, what) examples."""

    source: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """`table` (N,) with COLUMNS and `signatures` (N, 64), in the order of the sources.

    The columns `label`, `path` and `source` are positions in `labels`, `paths` and `sources`. `splits` holds the row
    numbers of each split; a split that is cut from train has no source of its own. `content` is the class of the
    contents that were read.
    """

    content: type[Content]
    table: Table
    signatures: UInt16
    sources: tuple[str, ...]
    splits: Mapping[str, Int64]
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def holds_text(self) -> bool:
        """Whether the contents are texts. For other contents only keys, labels and sizes are compared."""
        return issubclass(self.content, Text)

    def where(self, row: int) -> str:
        """`path:line` of a row."""
        return f"{self.paths[self.table['path'][row]]}:{self.table['line'][row]}"

    def label(self, row: int) -> str:
        """The row's label, in quotes."""
        return f'"{self.labels[self.table["label"][row]]}"'

    def where_seen_from(self, row: int, other: int) -> str:
        """Where the row `other` is: `line N` if it is in the same file as `row`, else `path:line`."""
        same = self.table["path"][row] == self.table["path"][other]
        return f"line {self.table['line'][other]}" if same else self.where(other)

    @property
    def is_empty(self) -> bool:
        """Whether no row of any source could be read."""
        return bool((self.table["marks"] & Mark.UNREADABLE > 0).all())

    def is_readable(self) -> Mask:
        """(N,) True for the rows that could be read and whose text, if they hold one, is not empty."""
        readable: Mask = self.table["marks"] & (Mark.UNREADABLE | Mark.EMPTY) == 0
        return readable

    def readable(self, source: str) -> Int64:
        """The numbers of the readable rows of a source."""
        return np.flatnonzero((self.table["source"] == self.sources.index(source)) & self.is_readable())


def scan(
    sources: Mapping[str, Iterable[Row[Any]] | DataError],
    config: DataConfig,
    content: type[Content],
    masks: Mapping[str, Mask] | None = None,
) -> Scan:
    """Read the rows of every source; `content` is the class of their contents.

    A row with an `error` becomes a fault. So does a DataError that is given instead of a source's rows, or that ends
    their reading. `masks` (N,) select the rows of train's source that belong to train, and to dev or test if these are
    cut from it.
    """
    built = _TableBuilder(config)
    faults = []
    for number, (name, rows) in enumerate(sources.items()):
        built.unreadable = []
        before = built.num_unreadable
        try:
            if isinstance(rows, DataError):
                raise rows
            for row in rows:
                built.add(row, number)
        except DataError as fault:
            where, _, what = str(fault).partition(": ")
            faults.append(Fault(name, 1, ((where, what),)))
        if built.num_unreadable > before:
            faults.append(Fault(name, built.num_unreadable - before, tuple(built.unreadable)))
    built.flush()
    table = np.frombuffer(built.table, COLUMNS)
    splits = {name: np.flatnonzero(table["source"] == i) for i, name in enumerate(sources)}
    splits |= {name: splits["train"][mask] for name, mask in (masks or {}).items()}
    return Scan(
        content=content,
        table=table,
        signatures=np.frombuffer(built.signatures, np.uint16).reshape(-1, NUM_HASHES),
        sources=tuple(sources),
        splits=splits,
        paths=tuple(built.paths),
        labels=tuple(built.labels),
        faults=tuple(faults),
    )


def masks_of(splits: Splits[Any] | DataError) -> dict[str, Mask]:
    """The rows of train's source that each split selects; a split that is a whole source has no entry."""
    if isinstance(splits, DataError):
        return {}
    selected = {name: rows.selected for name, rows in splits.by_name().items()}
    return {name: mask for name, mask in selected.items() if mask is not None}


def hash_of(content: bytes) -> int:
    """A 64-bit hash. Among two million different contents, two have the same hash with probability 1e-7."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class _TableBuilder:
    """The table so far, and the words of the rows whose signatures are not computed yet."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config
        self.table = bytearray()
        self.signatures = bytearray()
        self.paths: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.unreadable: list[tuple[str, str]] = []
        self.num_unreadable = 0
        self._rows: list[tuple[int, ...]] = []
        self._hashes: list[int] = []
        self._lengths: list[int] = []

    def add(self, row: Row[Any], source: int) -> None:
        """Add a row; `source` is the number of its source."""
        if row.error is not None:
            self.num_unreadable += 1
            if len(self.unreadable) < _SHOWN_FAULTS:
                self.unreadable.append((row.where(), row.error))
        is_text = isinstance(row.content, Text)
        found = words(row.content.text) if is_text else []
        exact = hash_of(row.content.text.encode("utf-8", "surrogatepass") if is_text else row.content.key())
        label = row.content.stratum()
        self._rows.append(
            (
                exact,
                hash_of(b" ".join(found)) if found else exact,
                row.line,
                self.paths.setdefault(row.path, len(self.paths)),
                -1 if label is None else self.labels.setdefault(label, len(self.labels)),
                len(found) if is_text else min(row.content.size(), 2**31 - 1),
                self._marks(row, len(found)),
                source,
            )
        )
        self._hashes += map(crc32, found)
        self._lengths.append(len(found))
        if len(self._hashes) > _WORDS_AT_ONCE or len(self._rows) > _WORDS_AT_ONCE // 10:
            self.flush()

    def _marks(self, row: Row[Any], num_words: int) -> int:
        if row.error is not None:
            return int(Mark.UNREADABLE)
        if not isinstance(row.content, Text):
            return 0
        found = marks(row.content.text, num_words)
        if row.content.label == self._config.label_column and row.content.text in self._config.text_columns:
            found |= Mark.HEADER
        return int(found)

    def flush(self) -> None:
        """Compute the signatures of the rows added last and move these rows into the table."""
        lengths = np.array(self._lengths, np.int64)
        self.signatures += signatures(np.array(self._hashes, np.uint32), lengths).tobytes()
        self.table += np.array(self._rows, COLUMNS).tobytes()
        self._rows.clear()
        self._hashes.clear()
        self._lengths.clear()
