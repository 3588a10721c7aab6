"""The n-grams of one text by name. A checkpoint holds their hashes only, so the names come from the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import Float64, Int64, UInt32
from lstm_cli.features.ngrams import WORD, Ngrams, hash_of_word, hashed_chars, hashed_words, lookup

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class NamedNgram:
    """An n-gram that the model knows: its name, whether it is one of words or of characters, where it stands in the
    text (more than once if it is repeated), and what it adds to the logit of each class (C,)."""

    name: str
    of: Literal["words", "characters"]
    spans: tuple[Span, ...]
    weights: Float64


def class_weights(ngrams: Ngrams, values: Float64) -> Float64:
    """(…, P) numbers of the problems -> (…, C) numbers of the classes, as `Ngrams.logits` has them."""
    return np.concatenate([-values / 2, values / 2], axis=-1) if len(ngrams.bias) == 1 else values


def named_ngrams(ngrams: Ngrams, text: str, scale: float = 1.0) -> list[NamedNgram]:
    """The n-grams of the text that the model knows, in the order of their first characters; weights times `scale`.

    The sum of their weights and of `class_weights(ngrams, bias)`, times `scale`, are the text's logits.
    """
    spans: dict[int, list[Span]] = {}  # by the position in `keys`
    kinds: dict[int, Literal["words", "characters"]] = {}
    for of, hashes, begins, ends in _occurrences(text, bool(ngrams.reads_chars[0])):
        known, columns = lookup(ngrams.keys, hashes)
        places = zip(begins[known].tolist(), ends[known].tolist(), strict=True)
        for column, place in zip(columns.tolist(), places, strict=True):
            kinds.setdefault(column, of)
            spans.setdefault(column, []).append(place)
    weights = scale * class_weights(ngrams, ngrams.weights[list(spans)].astype(np.float64))
    found = [
        NamedNgram(text[slice(*places[0])], kinds[column], tuple(places), own)
        for (column, places), own in zip(spans.items(), weights, strict=True)
    ]
    return sorted(found, key=lambda one: (one.spans[0], one.name))


def strongest_ngrams(
    ngrams: Ngrams, texts: Sequence[str], number: int, scale: float = 1.0
) -> list[list[tuple[str, float]]]:
    """For each class, the word n-grams of these texts that add most to its logit, up to `number`: name and weight.

    The weights are those times `scale`.
    """
    places, columns = ngrams.known_of_words(texts)
    found, first = np.unique(columns, return_index=True)
    weights = class_weights(ngrams, ngrams.weights[found].astype(np.float64))  # (K, C)
    best = [
        [at for at in np.argsort(-of_class, kind="stable")[:number].tolist() if of_class[at] > 0]
        for of_class in weights.T
    ]
    wanted: dict[int, set[int]] = {}  # by the text in which they occur first
    for at in {at for of_class in best for at in of_class}:
        wanted.setdefault(int(places[first[at]]), set()).add(int(ngrams.keys[found[at]]))
    names: dict[int, str] = {}
    for place, hashes in wanted.items():
        names |= _names(texts[place], hashes)
    return [
        [(names[int(ngrams.keys[found[at]])], scale * float(weights[at, label])) for at in of_class]
        for label, of_class in enumerate(best)
    ]


def _names(text: str, ngrams: Set[int]) -> dict[int, str]:
    """The names of these word n-grams of the text, by their hashes."""
    names: dict[int, str] = {}
    for _, hashes, begins, ends in _occurrences(text, reads_chars=False):
        for at in np.flatnonzero(np.isin(hashes, list(ngrams))).tolist():
            names.setdefault(int(hashes[at]), " ".join(text[begins[at] : ends[at]].lower().split()))
    return names


def _occurrences(
    text: str, reads_chars: bool
) -> Iterator[tuple[Literal["words", "characters"], UInt32, Int64, Int64]]:
    """The n-grams of each size: (M,) hashes, and where each begins and ends in the text."""
    lower, origin = _lowered(text)
    words = [found.span() for found in WORD.finditer(lower)]
    begins, ends = np.array(words, np.int64).reshape(-1, 2).T
    hashes = [hash_of_word(lower[begin:end]) for begin, end in words]
    for size, kept, packed in hashed_words([hashes]):
        at = np.flatnonzero(kept)
        yield "words", packed.astype(np.uint32), origin[begins[at]], origin[ends[at + size - 1]]
    if reads_chars:
        spaced, places = " ", [0]
        for found in re.finditer(r"\S+", lower):
            spaced += f"{found[0]} "
            places[-1] = max(found.start() - 1, 0)
            places += range(found.start(), found.end() + 1)
        at_char = np.array(places)
        for size, kept, packed in hashed_chars([spaced]):
            at = np.flatnonzero(kept)
            end = np.minimum(at_char[at + size - 1] + 1, len(lower))
            yield "characters", packed.astype(np.uint32), origin[at_char[at]], origin[end]


def _lowered(text: str) -> tuple[str, Int64]:
    """The text in lower case, and for each of its characters, and its end, where that stands in the text."""
    lower = text.lower()
    origin = [at for at, char in enumerate(text) for _ in char.lower()] + [len(text)]
    if len(origin) != len(lower) + 1:  # the lower case of a character can depend on its neighbours
        origin = [min(at, len(text)) for at in range(len(lower) + 1)]
    return lower, np.array(origin)
