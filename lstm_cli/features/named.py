"""The n-grams of one text by name. A checkpoint holds their hashes only, so the names come from the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import Float64, Mask, UInt64
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


def named_ngrams(ngrams: Ngrams, text: str) -> list[NamedNgram]:
    """The n-grams of the text that the model knows, in the order of their first characters.

    The sum of their weights and of `class_weights(ngrams, bias)` are the text's logits.
    """
    spans: dict[int, list[Span]] = {}
    names: dict[int, tuple[str, Literal["words", "characters"]]] = {}
    for of, packed, places in _occurrences(text, bool(ngrams.reads_chars[0])):
        for ngram, (begin, end) in zip(packed.astype(np.uint32).tolist(), places, strict=True):
            names.setdefault(ngram, (text[begin:end], of))
            spans.setdefault(ngram, []).append((begin, end))
    hashes = np.sort(np.fromiter(spans, np.uint32, len(spans)))
    known, columns = lookup(ngrams.keys, hashes)
    weights = class_weights(ngrams, ngrams.weights[columns].astype(np.float64))
    found = [
        NamedNgram(*names[ngram], tuple(spans[ngram]), own)
        for ngram, own in zip(hashes[known].tolist(), weights, strict=True)
    ]
    return sorted(found, key=lambda one: (one.spans[0], one.name))


def strongest_ngrams(ngrams: Ngrams, texts: Sequence[str], number: int) -> list[list[tuple[str, float]]]:
    """For each class, the word n-grams of these texts that add most to its logit, up to `number`: name and weight."""
    places, columns = ngrams.known_of_words(texts)
    found, first = np.unique(columns, return_index=True)
    weights = class_weights(ngrams, ngrams.weights[found].astype(np.float64))  # (K, C)
    strongest = []
    for of_class in weights.T:
        best = [at for at in np.argsort(-of_class, kind="stable")[:number].tolist() if of_class[at] > 0]
        names = (_name(texts[places[first[at]]], int(ngrams.keys[found[at]])) for at in best)
        strongest.append(list(zip(names, of_class[best].tolist(), strict=True)))
    return strongest


def _name(text: str, ngram: int) -> str:
    """The word n-gram of `text` with this hash."""
    for _, packed, places in _occurrences(text, reads_chars=False):
        for (begin, end), one in zip(places, packed.astype(np.uint32).tolist(), strict=True):
            if one == ngram:
                return " ".join(text[begin:end].lower().split())
    raise ValueError(f"no n-gram {ngram} in the text")


def _occurrences(
    text: str, reads_chars: bool
) -> Iterator[tuple[Literal["words", "characters"], UInt64, list[Span]]]:
    """The n-grams of each size, and where each stands."""
    lower, origin = _lowered(text)
    words = [(found.start(), found.end()) for found in WORD.finditer(lower)]
    hashes = [hash_of_word(lower[begin:end]) for begin, end in words]
    for size, kept, packed in hashed_words([hashes]):
        ends = [(words[at][0], words[at + size - 1][1]) for at in _positions(kept)]
        yield "words", packed, [(origin[begin], origin[end]) for begin, end in ends]
    if reads_chars:
        spaced, at_char = " ", [0]
        for found in re.finditer(r"\S+", lower):
            spaced += f"{found[0]} "
            at_char[-1] = max(found.start() - 1, 0)
            at_char += [*range(found.start(), found.end()), found.end()]
        for size, kept, packed in hashed_chars([spaced]):
            ends = [(at_char[at], min(at_char[at + size - 1] + 1, len(lower))) for at in _positions(kept)]
            yield "characters", packed, [(origin[begin], origin[end]) for begin, end in ends]


def _positions(kept: Mask) -> list[int]:
    positions: list[int] = np.flatnonzero(kept).tolist()
    return positions


def _lowered(text: str) -> tuple[str, list[int]]:
    """The text in lower case, and for each of its characters, and its end, where that stands in the text."""
    lower = text.lower()
    origin = [at for at, char in enumerate(text) for _ in char.lower()] + [len(text)]
    if len(origin) != len(lower) + 1:  # the lower case of a character can depend on its neighbours
        origin = [min(at, len(text)) for at in range(len(lower) + 1)]
    return lower, origin
