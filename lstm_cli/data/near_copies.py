"""Texts that are copies or near copies of given ones, found while reading them once, from hashes alone.

A language model must not read what a classifier is scored on. A text may be a copy although it is not equal: another
program has written its line breaks as <br />, its quotes as &quot;, or left out a word.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from lstm_cli.arrays import AnyArray, Int64, Mask, UInt16, UInt32, UInt64
from lstm_cli.data.duplicates import NEAR, NUM_HASHES, signatures
from lstm_cli.data.rows import Row
from lstm_cli.data.text import Text
from lstm_cli.data.words import words

_WORDS_AT_ONCE = 200_000
_FEWEST_WORDS, _MOST_WORDS = 4, 64
"""Texts of this length are also copies if one has a word less. A word less of 14 lowers the resemblance to NEAR, and
its estimate from 64 hashes is sure enough only from about 60 words on."""
_COMPARED = 16
"""At most this many given texts with one band in common are compared, of which templates can have thousands."""
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_ESCAPE = re.compile(r"\\[nrt]")
_BASE = 0x9E3779B97F4A7C15 | 1
_INVERSE = pow(_BASE, -1, 2**64)


@dataclass(frozen=True, slots=True)
class NearCopies:
    """An index of given texts: about 0.4 kB for each, and up to 1 kB for a short one.

    `keys`, `whole` and `without_one` are sorted hashes, as `_Chunk` has them. `signed` (G, 64) are the signatures, and
    `bands` the 16 parts of four hashes that signatures have, each sorted, with the numbers of the signatures.
    """

    keys: UInt64
    whole: UInt64
    without_one: UInt64
    signed: UInt16
    bands: Sequence[tuple[UInt64, Int64]]

    @classmethod
    def of(cls, rows: Iterable[Row[Text]]) -> NearCopies:
        """The index of the texts of `rows`."""
        chunks = list(_chunks(rows))
        whole, first = np.unique(_joined([chunk.whole for chunk in chunks], np.uint64), return_index=True)
        signed = _joined([chunk.signed for chunk in chunks], np.uint16).reshape(-1, NUM_HASHES)[first]
        signed = signed[signed.any(axis=1)]  # a text without words is compared as a whole only
        keys = np.ascontiguousarray(signed).view(np.uint64)
        orders = [np.argsort(band, kind="stable") for band in keys.T]
        return cls(
            np.unique(_joined([chunk.keys for chunk in chunks], np.uint64)),
            whole,
            np.unique(_joined([chunk.without_one for chunk in chunks], np.uint64)),
            signed,
            [(band[order], order) for band, order in zip(keys.T, orders, strict=True)],
        )

    def mask(self, rows: Iterable[Row[Text]]) -> Mask:
        """(N,) True for the rows whose text is a copy or a near copy of a given one."""
        found = [self._found(chunk) for chunk in _chunks(rows)]
        return _joined(found, np.bool_)

    def _found(self, chunk: _Chunk) -> Mask:
        found: Mask = np.isin(chunk.keys, self.keys) | np.isin(chunk.whole, self.whole)
        found |= np.isin(chunk.whole, self.without_one)  # it lacks a word
        found[chunk.rows[np.isin(chunk.without_one, self.whole)]] = True  # it has one more
        asked = np.ascontiguousarray(chunk.signed).view(np.uint64)
        has_words = chunk.signed.any(axis=1)
        for (band, order), keys in zip(self.bands, asked.T, strict=True):
            begin, end = np.searchsorted(band, keys, "left"), np.searchsorted(band, keys, "right")
            for step in range(_COMPARED):
                pairs = np.flatnonzero((begin + step < end) & ~found & has_words)
                if not len(pairs):
                    break
                others = self.signed[order[begin[pairs] + step]]
                alike = (chunk.signed[pairs] == others).mean(axis=1) >= NEAR
                found[pairs[alike]] = True
        return found


@dataclass(frozen=True, slots=True)
class _Chunk:
    """N texts as hashes: (N,) of the contents and of the words in order; of the V texts with a word less; signatures.

    `rows` (V,) are the texts that lack a word in `without_one` (V,).
    """

    keys: UInt64
    whole: UInt64
    without_one: UInt64
    rows: Int64
    signed: UInt16


def _chunks(rows: Iterable[Row[Text]]) -> Iterator[_Chunk]:
    keys, hashes, lengths = bytearray(), list[int](), list[int]()
    for row in rows:
        found = words(_plain(row.content.text))
        keys += hashlib.blake2b(row.content.key(), digest_size=8).digest()
        hashes += map(crc32, found)
        lengths.append(len(found))
        if len(hashes) > _WORDS_AT_ONCE or len(lengths) > _WORDS_AT_ONCE // 10:
            yield _chunk(keys, hashes, lengths)
            keys, hashes, lengths = bytearray(), [], []
    if lengths:
        yield _chunk(keys, hashes, lengths)


def _plain(text: str) -> str:
    """The text without the marks of HTML and JSON: entities, tags, and \\n for a line break."""
    if "&" in text:
        text = html.unescape(html.unescape(text))
    if "<" in text:
        text = _TAG.sub(" ", text)
    return _ESCAPE.sub(" ", text) if "\\" in text else text


def _chunk(keys: bytearray, hashes: list[int], lengths: list[int]) -> _Chunk:
    contents = np.frombuffer(bytes(keys), np.uint64)
    word_hashes, counts = np.array(hashes, np.uint32), np.array(lengths, np.int64)
    whole, without_one, rows = _word_orders(word_hashes, counts)
    whole = np.where(counts > 0, whole, contents)
    return _Chunk(contents, whole, without_one, rows, signatures(word_hashes, counts))


def _word_orders(word_hashes: UInt32, counts: Int64) -> tuple[UInt64, UInt64, Int64]:
    """(W,), (N,) -> (N,) a hash of the words of each text in their order, (V,) the same of each short text without one
    of its words, (V,) the text that this is.

    The hash is a polynomial with the words as coefficients, modulo 2**64, so that a word is taken out in one step: the
    powers of the words behind it fall by one.
    """
    begins = np.cumsum(counts) - counts
    row_of = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(word_hashes)) - begins[row_of]
    powers = np.full(int(counts.max(initial=0)) + 1, _BASE, np.uint64)
    powers[0] = 1
    powers = np.multiply.accumulate(powers)
    terms = (word_hashes.astype(np.uint64) + np.uint64(1)) * powers[position]
    upto = np.zeros(len(terms) + 1, np.uint64)
    np.cumsum(terms, out=upto[1:])  # wraps, as the hash does
    start, stop = upto[begins], upto[begins + counts]
    short = np.flatnonzero(((counts >= _FEWEST_WORDS) & (counts <= _MOST_WORDS))[row_of])
    rows = row_of[short]
    before, behind = upto[short] - start[rows], stop[rows] - upto[short + 1]
    return _mixed(stop - start), _mixed(before + behind * np.uint64(_INVERSE)), rows


def _mixed(hashes: UInt64) -> UInt64:
    hashes = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return np.asarray(hashes ^ (hashes >> np.uint64(32)), np.uint64)


def _joined(arrays: Sequence[AnyArray], dtype: type[np.generic]) -> AnyArray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)
