"""N-gram features to combine with a network: word 1–3-grams and character 2–5-grams with Naive Bayes weights.

Every n-gram that occurs in two or more training texts is a binary feature. Its value for a class is the log of the
ratio of its frequency in the class to its frequency in all other classes. A logistic regression on these values (Wang
and Manning 2012, with regression in place of their support vector machine) learns what each n-gram adds to the logit of
the class. The network reads word order over any distance, and the n-grams contain phrases of the training texts, so the
two make different mistakes.

Accuracy on a held-out tenth of train: film reviews 91.7 % (TF-IDF 90.8), film-review sentences 82.7 ± 0.7 (81.9 ± 1.5),
tweets in 8 languages 57.9 ± 1.1 (57.2 ± 0.3). If n-grams that occur in one text only are used too, or word n-grams only
up to 2-grams, the accuracy is the same within half a standard deviation. A token for the beginning of a text makes
questions 0.8 ± 0.6 points better from n-grams alone, and no better when combined with the network (-0.1 ± 0.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from lstm_cli.arrays import Float32, Float64, Int32, Int64, Mask, UInt32, UInt64
from lstm_cli.errors import CheckpointError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Pairs = tuple[Int64, UInt32]
"""(M,) text numbers, ascending, and (M,) hashes of the n-grams of these texts, each hash once per text."""

_Numbers = TypeVar("_Numbers", UInt32, UInt64)

FORMAT = 1
"""Increased whenever the same texts would give other features or weights."""

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # kana and Chinese characters: no spaces separate the words
WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")
_WORD_SIZES = range(1, 4)
_CHAR_SIZES = range(2, 6)
_MAX_TEXT_WITH_CHARS = 10_000_000
"""Character n-grams are used up to this many characters of training text. They gain most if there is little text (2
points on tweets), and cost most if there is much: eight times as many features per text."""
_C_CANDIDATES = (0.03, 0.1, 0.3, 1.0)
"""Values of the inverse regularisation C that are tried on the held-out tenth."""
_MAX_TEXT = 40_000_000
_MAX_FIT = 400_000_000
_MAX_CHOICE = 60_000_000
"""Limits on the text: characters in total, characters times binary problems for the final fit, and the same for each
value of C. 33 M characters of two classes took 13 s and 1.0 GB."""
_MAX_WEIGHTS = 4_000_000
"""Maximum number of weights of all classes together; each takes 2 bytes in a checkpoint. On film reviews the heavier
half of the n-grams scored as well as all of them, the heaviest tenth 0.6 points worse."""
_CHARS_AT_ONCE = 100_000
"""Characters that are processed at a time, in about 15 MB. A million at a time took 1.17 times as long with character
n-grams, and as long without."""
_CHARS_PER_KEY = 16
"""Less text than a character for so many known n-grams is looked up by bisection: making a table would take longer."""
_MAX_TEXT_CHARS = 1_000_000
"""A text is cut to this length."""
_MAX_KNOWN_WORDS = 1_000_000
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MAX_HEADER_BYTES = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Ngrams:
    """Fitted n-gram features, as a checkpoint holds them in ngrams.safetensors.

    `keys` (F,) are the hashes of the n-grams, ascending. `weights` (F, P) and `bias` (P,) are those of P problems: one
    for two classes, else one per class. `reads_chars` (1,) is True if character n-grams are used.
    """

    keys: UInt32
    weights: npt.NDArray[np.float16]
    bias: Float32
    reads_chars: Mask

    @classmethod
    def learn(cls, texts: Iterable[str], targets: Int64) -> Ngrams:
        """Fit on training texts, which are read twice, and their class numbers `targets` (N,).

        If that would take many minutes or gigabytes, a stratified sample of the texts is fitted instead.
        """
        from lstm_cli.features.linear import Linear, choose_inverse_regularization, num_problems, sample

        rng = np.random.default_rng(0)
        sizes = np.fromiter(map(len, texts), np.int64, len(targets))
        problems = num_problems(targets)
        allowed = sample(targets, sizes, min(_MAX_TEXT, _MAX_FIT // problems), rng)
        targets, sizes = targets[allowed], sizes[allowed]
        reads_chars = bool(sizes.sum() <= _MAX_TEXT_WITH_CHARS)
        found = list(_ngrams((text for text, kept in zip(texts, allowed, strict=True) if kept), reads_chars))
        keys, counts = np.unique(np.concatenate([hashes for _, hashes in found]), return_counts=True)
        keys = keys[counts > 1]
        if not len(keys):
            return cls._of_class_priors(targets)
        rows = _matrix(found, keys, len(targets))
        del found
        fit = partial(Linear.fit, seed=0, scale=_log_count_ratios)
        tried_on = sample(targets, sizes, _MAX_CHOICE // problems, rng)
        inverse_regularization, _ = choose_inverse_regularization(
            _C_CANDIDATES, fit, rows, targets, tried_on, rng
        )
        model = fit(rows, targets, inverse_regularization)
        weights = model.weights.astype(np.float16)
        found_all = cls(keys, weights, model.bias.astype(np.float32), np.array([reads_chars]))
        return found_all.heaviest(_MAX_WEIGHTS // weights.shape[1])

    def heaviest(self, count: int) -> Ngrams:
        """The `count` n-grams whose largest weight is largest, or all if there are no more."""
        kept = np.sort(np.argsort(-np.abs(self.weights).max(axis=1), kind="stable")[:count])
        return Ngrams(self.keys[kept], self.weights[kept], self.bias, self.reads_chars)

    @classmethod
    def _of_class_priors(cls, targets: Int64) -> Ngrams:
        """The fit if no n-gram is in two texts: only a bias, the log-odds of the class priors (0.5 rows added)."""
        counts = np.bincount(targets) + 0.5
        odds = np.log(counts / (counts.sum() - counts)).astype(np.float32)
        bias = odds[1:] if len(odds) == 2 else odds
        return cls(np.zeros(0, np.uint32), np.zeros((0, len(bias)), np.float16), bias, np.array([False]))

    def logits(self, texts: Sequence[str]) -> Float32:
        """N texts -> (N, C): the logits of each text from its n-grams alone."""
        total = np.tile(self.bias.astype(np.float64), (len(texts), 1))  # (N, P)
        for begin, found, columns in self._known(texts, bool(self.reads_chars[0])):
            for problem, weights in enumerate(self.weights.T):
                sums = np.bincount(found, weights[columns])
                total[begin : begin + len(sums), problem] += sums
        logits = np.hstack([-total / 2, total / 2]) if len(self.bias) == 1 else total
        return logits.astype(np.float32)

    def known_of_words(self, texts: Sequence[str]) -> tuple[Int64, Int64]:
        """N texts -> the known word n-grams: (M,) the number of the text, ascending, (M,) the position in `keys`."""
        chunks = list(self._known(texts, reads_chars=False))
        none = np.zeros(0, np.int64)
        return (
            np.concatenate([none, *(begin + found for begin, found, _ in chunks)]),
            np.concatenate([none, *(columns for *_, columns in chunks)]),
        )

    def _known(self, texts: Sequence[str], reads_chars: bool) -> Iterator[tuple[int, Int64, Int64]]:
        """The known n-grams, one chunk of texts at a time: the number of its first text, and from there (M,) the
        text's number, ascending, and (M,) the position in `keys`.

        The known ones are numbered first and sorted then: they are fewer, and their numbers usually take 4 bytes. With
        the n-grams sorted first and the numbers found by bisection, film reviews took 1.5 times as long.
        """
        pays = sum(map(len, texts)) > len(self.keys) / _CHARS_PER_KEY
        find = _Table.of(self.keys).lookup if pays else partial(lookup, self.keys)
        bits = np.uint64(len(self.keys).bit_length())
        for begin, pairs in _packed(texts, reads_chars):
            known, at = find(pairs.astype(np.uint32))
            both = (pairs[known] >> np.uint64(32)) << bits | at.astype(np.uint64)
            fits = not len(both) or both.max() < 2**32
            both = _distinct(both.astype(np.uint32)).astype(np.uint64) if fits else _distinct(both)
            mask = (np.uint64(1) << bits) - np.uint64(1)
            yield begin, (both >> bits).astype(np.int64), (both & mask).astype(np.int64)

    def to_bytes(self) -> bytes:
        """The content of ngrams.safetensors."""
        names = ("keys", "weights", "bias", "reads_chars")
        content: bytes = safetensors.numpy.save(
            {name: np.ascontiguousarray(getattr(self, name)) for name in names}
        )
        return content

    @classmethod
    def from_bytes(cls, content: bytes, num_classes: int) -> Ngrams:
        """Read what `to_bytes` wrote. Raises CheckpointError for anything else and for another number of classes."""
        try:
            if int.from_bytes(content[:8], "little") > _MAX_HEADER_BYTES:
                raise ValueError("its header is too large")
            read = cls(**safetensors.numpy.load(content))
            width = 1 if num_classes == 2 else num_classes
            expected = {"keys": np.uint32, "weights": np.float16, "bias": np.float32, "reads_chars": np.bool_}
            shapes = (read.keys.ndim, read.weights.shape, read.bias.shape, read.reads_chars.shape)
            if {name: getattr(read, name).dtype for name in expected} != expected:
                raise ValueError("its arrays have other types")
            if shapes != (1, (len(read.keys), width), (width,), (1,)):
                raise ValueError(f"its arrays do not have the shapes of {num_classes} classes")
            if (read.keys[1:] <= read.keys[:-1]).any():
                raise ValueError("its keys are not in ascending order")
            if not (np.isfinite(read.weights).all() and np.isfinite(read.bias).all()):
                raise ValueError("some of its numbers are not finite")
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as fault:
            raise CheckpointError(f"ngrams.safetensors: not n-gram weights ({str(fault)[:500]})") from None
        return read


def _log_count_ratios(rows: csr_matrix, own: Mask) -> Float64:
    """(N, F) of 0 and 1, (N,) -> (F,): the log-count ratio of each feature (Wang and Manning 2012, equation 2).

    That is the log of its relative frequency in the class minus the log of that in the other classes, both with add-one
    smoothing.
    """
    inside, outside = (np.asarray(rows[which].sum(axis=0)).ravel() + 1.0 for which in (own, ~own))
    ratios: Float64 = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
    return ratios


def _matrix(found: Iterable[Pairs], keys: UInt32, num_rows: int) -> csr_matrix:
    """(N, F) of 0 and 1: which n-grams of `keys` (F,) each text has."""
    from scipy.sparse import csr_matrix

    counts = np.zeros(num_rows + 1, np.int64)
    columns = [np.zeros(0, np.int32)]
    for texts, hashes in found:
        known, at = lookup(keys, hashes)
        counts += np.bincount(texts[known] + 1, minlength=num_rows + 1)
        columns.append(at.astype(np.int32))
    column = np.concatenate(columns)
    return csr_matrix((np.ones(len(column), np.float64), column, np.cumsum(counts)), (num_rows, len(keys)))


def lookup(keys: UInt32, hashes: UInt32) -> tuple[Mask, Int64]:
    """(F,), (M,) -> (M,) which hashes are among `keys`, (K,) the positions of those K in `keys`."""
    at = np.searchsorted(keys, hashes)
    known: Mask = at < len(keys)
    known[known] = keys[at[known]] == hashes[known]
    return known, at[known]


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """`lookup` for hashes in any order. `starts` (S,) is the number of keys below each of S equal parts of all hashes.

    Hashes are spread evenly, so a part has about one key. `keys` has one more at its end, which is above all others.
    """

    keys: UInt32
    starts: Int32
    shift: np.uint32

    @classmethod
    def of(cls, keys: UInt32) -> _Table:
        bits = max(1, len(keys).bit_length())
        shift = np.uint32(32 - bits)
        counts = np.bincount(keys >> shift, minlength=2**bits)
        starts = (np.cumsum(counts) - counts).astype(np.int32)
        return cls(np.append(keys, np.uint32(2**32 - 1)), starts, shift)

    def lookup(self, hashes: UInt32) -> tuple[Mask, Int32]:
        at = self.starts[hashes >> self.shift]
        key = self.keys[at]
        known: Mask = key == hashes
        later = np.flatnonzero(key < hashes)
        while len(later):
            at[later] += 1
            key, wanted = self.keys[at[later]], hashes[later]
            known[later] = key == wanted
            later = later[key < wanted]
        known[known] = at[known] < len(self.keys) - 1
        return known, at[known]


def _packed(texts: Iterable[str], reads_chars: bool) -> Iterator[tuple[int, UInt64]]:
    """The n-grams of each text, one chunk of texts at a time: the number of its first text, and from there, as `hashed`
    packs them."""
    begin = 0
    for chunk in _chunks(texts):
        yield begin, np.concatenate([*_of_words(chunk), *(_of_chars(chunk) if reads_chars else ())])
        begin += len(chunk)


def _ngrams(texts: Iterable[str], reads_chars: bool) -> Iterator[Pairs]:
    """The n-grams of each text, one chunk of texts at a time."""
    for begin, pairs in _packed(texts, reads_chars):
        distinct = _distinct(pairs)
        yield (distinct >> np.uint64(32)).astype(np.int64) + begin, distinct.astype(np.uint32)


def _distinct(numbers: _Numbers) -> _Numbers:
    """(M,) -> (K,): the different numbers, ascending. np.unique uses a hash table and took seven times as long."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    chars = 0
    for text in texts:
        chunk.append(text[:_MAX_TEXT_CHARS])
        chars += len(chunk[-1])
        if chars >= _CHARS_AT_ONCE:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _of_words(texts: Sequence[str]) -> Iterator[UInt64]:
    """Word n-grams, as `hashed` packs them."""
    words = [list(map(hash_of_word, WORD.findall(text.lower()))) for text in texts]
    return (packed for _, _, packed in hashed_words(words))


def hashed_words(words: Sequence[Sequence[int]]) -> Iterator[tuple[int, Mask, UInt64]]:
    """`hashed` for the words of N texts, by their CRC-32."""
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    units = np.fromiter(chain.from_iterable(words), np.uint64, int(sizes.sum()))
    return hashed(units, sizes, np.ones(len(units), np.bool_), _WORD_SIZES, 0)


def _of_chars(texts: Sequence[str]) -> Iterator[UInt64]:
    """Character n-grams within words, as `hashed` packs them; the spaces around a word belong to it."""
    return (
        packed for _, _, packed in hashed_chars([f" {' '.join(text.lower().split())} " for text in texts])
    )


def hashed_chars(spaced: Sequence[str]) -> Iterator[tuple[int, Mask, UInt64]]:
    """`hashed` for the characters of N texts with one space between words and around them."""
    units = np.frombuffer("".join(spaced).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    sizes = np.fromiter(map(len, spaced), np.int64, len(spaced))
    return hashed(units, sizes, units != ord(" "), _CHAR_SIZES, 1)


def hashed(
    units: UInt64, lengths: Int64, inside: Mask, sizes: range, kind: int
) -> Iterator[tuple[int, Mask, UInt64]]:
    """(U,), (N,), (U,) -> for each size: the size, (U - size + 1,) at which units an n-gram begins, and these n-grams
    (M,), with the text's number in the upper 32 bits and the hash in the lower.

    `units` are the words or characters of all texts; `lengths` counts those of each text. A unit that is not `inside`
    can only be the first or the last of an n-gram. `kind` keeps the hashes of words and of characters apart.
    """
    text = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    hashes, whole = units, np.ones(len(units), np.bool_)
    for size in range(1, sizes.stop):
        num = max(len(units) - size + 1, 0)
        if size > 1:
            hashes = hashes[:num] * _MULTIPLIER + units[size - 1 :]
            whole = whole[:num] & (inside[size - 2 : size - 2 + num] if size > 2 else True)
        if size in sizes:
            kept = whole & (text[:num] == text[size - 1 :])
            mixed = (hashes[kept] * np.uint64(16) + np.uint64(2 * size + kind)) * _MULTIPLIER
            mixed = (mixed ^ (mixed >> np.uint64(31))) * _MULTIPLIER
            yield size, kept, (text[:num][kept] << np.uint64(32)) | (mixed >> np.uint64(32))


class _Hashes(dict[str, int]):
    """CRC-32 of words, cached. Python's own `hash` differs from process to process."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MAX_KNOWN_WORDS:
            self.clear()
        value = self[word] = crc32(word.encode("utf-8", "surrogatepass"))
        return value


hash_of_word = _Hashes().__getitem__
