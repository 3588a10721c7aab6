"""The words of a text, as a person reads them, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lstm_cli.arrays import Float64
from lstm_cli.features.named import Span

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters."""
_WORD = re.compile(
    rf"[{_UNSPACED}][\u0300-\u036f\u0e31-\u0e4e]*|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*|[^\w\s]+"
)


def words_of(text: str) -> list[Span]:
    """Where each word stands: (begin, end) in characters. Signs that follow each other are one word, and so is each
    character of a script without spaces. A text without words is one word."""
    return [found.span() for found in _WORD.finditer(text)] or [(0, len(text))]


def shared_out(
    values: Sequence[float] | Float64, spans: Sequence[Sequence[Span]], words: Sequence[Span]
) -> Float64:
    """(M,), the places of each of M things, W words -> (W,): the sum of what stands in each word.

    A thing that is in several places, or over several words, is shared out by its number of characters in each. One
    that touches no word, such as a space, goes to the next one.
    """
    total = np.zeros(len(words))
    num_places = np.fromiter(map(len, spans), np.int64, len(spans))
    if not num_places.sum():
        return total
    shares = np.repeat(np.asarray(values, np.float64) / num_places, num_places)
    begins, ends = np.array([place for places in spans for place in places]).T
    word_begins, word_ends = np.array(words).T
    first = np.searchsorted(word_ends, begins, "right")
    counts = np.maximum(
        np.searchsorted(word_begins, ends, "left") - first, 0
    )  # of the words that a place touches
    counts[begins == ends] = 0
    outside = counts == 0
    np.add.at(total, np.minimum(first[outside], len(words) - 1), shares[outside])
    place = np.repeat(np.arange(len(counts)), counts)
    word = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    inside = np.minimum(word_ends[word], ends[place]) - np.maximum(word_begins[word], begins[place])
    np.add.at(total, word, (shares / np.maximum(np.bincount(place, inside, len(counts)), 1))[place] * inside)
    return total
