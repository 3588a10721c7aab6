"""One reading of every source into a table of numbers: about 170 bytes a row, however long its text is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Int64, Mask, UInt16
from lstm_cli.data.rows import Row
from lstm_cli.data.sources import DataConfig
from lstm_cli.data.text import Text
from lstm_cli.errors import DataError
from lstm_cli.lint.duplicates import NUM_HASHES, signatures
from lstm_cli.lint.text import Mark, marks, words

_WORDS_AT_ONCE = 200_000
_SHOWN_FAULTS = 3

COLUMNS = np.dtype(
    [
        ("exact", "u8"),  # hash of the text as it is
        ("folded", "u8"),  # hash of its words; of the text where it has none
        ("line", "u4"),
        ("path", "i4"),
        ("label", "i4"),  # -1 where the row cannot be read
        ("words", "i4"),
        ("marks", "u2"),
        ("source", "i1"),
    ]
)
Table = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a training stops at, or some rows that it would stop at."""

    source: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """`table` (N,) with COLUMNS and `signatures` (N, 64), in the order of the sources; its `label`, `path` and `source`
    are positions in `labels`, `paths` and `sources`. `splits` are the rows of each split, by number: what is cut from
    train has no source of its own."""

    table: Table
    signatures: UInt16
    sources: tuple[str, ...]
    splits: Mapping[str, Int64]
    paths: tuple[str, ...]
    labels: tuple[str, ...]
    faults: tuple[Fault, ...]

    def where(self, row: int) -> str:
        """`path:line` of a row."""
        return f"{self.paths[self.table['path'][row]]}:{self.table['line'][row]}"

    def label(self, row: int) -> str:
        """The row's label, in quotes."""
        return f'"{self.labels[self.table["label"][row]]}"'

    def beside(self, row: int, other: int) -> str:
        """Where `other` is, for someone who looks at `row`: its line alone where the file is the same."""
        same = self.table["path"][row] == self.table["path"][other]
        return f"line {self.table['line'][other]}" if same else self.where(other)

    def readable(self, source: str) -> Int64:
        """Numbers of the rows of a source that have a text and a label."""
        of_source = self.table["source"] == self.sources.index(source)
        return np.flatnonzero(of_source & (self.table["marks"] & (Mark.UNREADABLE | Mark.EMPTY) == 0))


def scan(
    sources: Mapping[str, Iterable[Row[Text]] | DataError],
    config: DataConfig,
    parts: Mapping[str, Mask] | None = None,
) -> Scan:
    """Read rows that come with their `error`. What keeps a source from being read, or read on, becomes a fault.

    `parts` says which rows of train's source stay train's, and which are cut from it for dev or test.
    """
    kept = _Kept(config)
    faults = []
    for number, rows in enumerate(sources.values()):
        name = list(sources)[number]
        kept.unreadable = []
        before = kept.num_unreadable
        try:
            if isinstance(rows, DataError):
                raise rows
            for row in rows:
                kept.add(row, number)
        except DataError as fault:
            where, _, what = str(fault).partition(": ")
            faults.append(Fault(name, 1, ((where, what),)))
        if kept.num_unreadable > before:
            faults.append(Fault(name, kept.num_unreadable - before, tuple(kept.unreadable)))
    kept.flush()
    table = np.frombuffer(kept.table, COLUMNS)
    splits = {name: np.flatnonzero(table["source"] == i) for i, name in enumerate(sources)}
    splits |= {name: splits["train"][part] for name, part in (parts or {}).items()}
    return Scan(
        table=table,
        signatures=np.frombuffer(kept.signatures, np.uint16).reshape(-1, NUM_HASHES),
        sources=tuple(sources),
        splits=splits,
        paths=tuple(kept.paths),
        labels=tuple(kept.labels),
        faults=tuple(faults),
    )


def text_hash(content: bytes) -> int:
    """64 bits: among two million different texts two are alike once in ten million data sets."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


class _Kept:
    """What is kept so far, and the words of the rows whose signatures are still to be made."""

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

    def add(self, row: Row[Text], source: int) -> None:
        if row.error is not None:
            self.num_unreadable += 1
            if len(self.unreadable) < _SHOWN_FAULTS:
                self.unreadable.append((row.where(), row.error))
        content = row.content.text.encode("utf-8", "surrogatepass")
        found = words(row.content.text)
        exact = text_hash(content)
        self._rows.append(
            (
                exact,
                text_hash(b" ".join(found)) if found else exact,
                row.line,
                self.paths.setdefault(row.path, len(self.paths)),
                -1
                if row.content.label is None
                else self.labels.setdefault(row.content.label, len(self.labels)),
                len(found),
                self._marks(row, len(found)),
                source,
            )
        )
        self._hashes += map(crc32, found)
        if len(self._hashes) > _WORDS_AT_ONCE or len(self._rows) > _WORDS_AT_ONCE // 10:
            self.flush()

    def _marks(self, row: Row[Text], num_words: int) -> int:
        if row.error is not None:
            return int(Mark.UNREADABLE)
        found = marks(row.content.text, num_words)
        if row.content.label == self._config.label_column and row.content.text in self._config.text_columns:
            found |= Mark.HEADER
        return int(found)

    def flush(self) -> None:
        lengths = np.array([row[5] for row in self._rows], np.int64)
        self.signatures += signatures(np.array(self._hashes, np.uint32), lengths).tobytes()
        self.table += np.array(self._rows, COLUMNS).tobytes()
        self._rows.clear()
        self._hashes.clear()
