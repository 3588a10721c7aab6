"""Spans such as names of people in a sequence of tags, and their precision, recall and F1 as `conlleval` computes them.

A scheme marks how a tag belongs to a span of a type (Ramshaw & Marcus 1995; Tjong Kim Sang & Veenstra 1999):

    iob1   I-X inside, B-X only where a span follows another of the same type
    bio    B-X begins every span, I-X goes on (also called IOB2)
    bioes  as bio; E-X ends a span, S-X is a span of one word
    bilou  as bioes, with L for E and U for S

Tags that break their scheme are read as `conlleval` reads them: any tag of another type, or after O, begins a span.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import Mask

Scheme = Literal["iob1", "bio", "bioes", "bilou"]
Span = tuple[int, int, str]
"""(first word, word after the last one, type)."""

OUTSIDE = "O"
_PREFIXES: dict[Scheme, str] = {"bio": "BI", "bioes": "BIES", "bilou": "BILU"}


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme | None:
    """The scheme of the tags, or None if they mark no spans. At least one tag must be O, and one not."""
    prefixes: set[str] = set()
    outside = False
    begins_inside = begins_twice = False  # what only iob1 does, and what it never does
    for tags in sentences:
        previous = OUTSIDE
        for tag in tags:
            if tag == OUTSIDE:
                outside = True
            elif len(tag) < 3 or tag[1] != "-":
                return None
            else:
                prefixes.add(tag[0])
                follows = previous[2:] == tag[2:]
                begins_inside |= tag[0] == "I" and not follows
                begins_twice |= tag[0] == "B" and not follows
            previous = tag
    if not prefixes or not outside or not prefixes <= set("BIESLU"):
        return None
    if prefixes <= set("BI"):
        return "iob1" if begins_inside and not begins_twice else "bio"
    if prefixes <= set("BIES"):
        return "bioes"
    return "bilou" if prefixes <= set("BILU") else None


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence in any scheme, in order."""
    found: list[Span] = []
    begin, kind = 0, ""
    for at, tag in enumerate([*tags, OUTSIDE]):
        prefix, new = ("O", "") if tag == OUTSIDE else (tag[0], tag[2:])
        if kind and (prefix in "OBSU" or new != kind):
            found.append((begin, at, kind))
            kind = ""
        if prefix != "O" and not kind:
            begin, kind = at, new
        if prefix in "ESLU" and kind:
            found.append((begin, at + 1, kind))
            kind = ""
    return found


def tags_of(spans: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """The tags of a sentence of `length` words with these spans, which must be in order and not overlap."""
    tags = [OUTSIDE] * length
    last: Span | None = None
    for begin, end, kind in spans:
        if scheme == "iob1":
            first = "B" if last and last[1:] == (begin, kind) else "I"
            names = [first] + ["I"] * (end - begin - 1)
        elif scheme == "bio":
            names = ["B"] + ["I"] * (end - begin - 1)
        else:
            single, ending = ("S", "E") if scheme == "bioes" else ("U", "L")
            names = [single] if end - begin == 1 else ["B", *["I"] * (end - begin - 2), ending]
        tags[begin:end] = [f"{name}-{kind}" for name in names]
        last = (begin, end, kind)
    return tags


def may_follow(before: str | None, after: str | None) -> bool:
    """Whether the tag `after` may follow `before` in the scheme bio; None is the start or the end of a sentence."""
    if after is None or not after.startswith("I-"):
        return True
    return before is not None and before[2:] == after[2:] and before != OUTSIDE


def legal_pairs(
    names: Sequence[str], scheme: Scheme | None, seen: Iterable[tuple[str | None, str | None]]
) -> Mask:
    """(K + 1, K + 1) True where the second of two tags may follow the first: everywhere without a scheme.

    Row K is the start of a sentence and column K its end. What train has `seen` is legal, whatever the scheme says.
    """
    ends = [*names, None]
    legal = np.array([[scheme is None or may_follow(before, after) for after in ends] for before in ends])
    number = {name: at for at, name in enumerate(ends)}
    for before, after in seen:
        legal[number[before], number[after]] = True
    return legal


@dataclass(frozen=True, slots=True)
class SpanScore:
    """Counts of the spans of one type: found and right, found, and true."""

    num_right: int
    num_predicted: int
    num_true: int

    @property
    def precision(self) -> float:
        """The fraction of the predicted spans that are right; 0 without any."""
        return self.num_right / self.num_predicted if self.num_predicted else 0.0

    @property
    def recall(self) -> float:
        """The fraction of the true spans that were found; 0 without any."""
        return self.num_right / self.num_true if self.num_true else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 if both are 0."""
        total = self.num_predicted + self.num_true
        return 2 * self.num_right / total if total else 0.0


def span_scores(predicted: Iterable[Iterable[Span]], true: Iterable[Iterable[Span]]) -> dict[str, SpanScore]:
    """The score of each type, sorted, then that of all spans as "". A span is right if begin, end and type are."""
    counts: dict[str, list[int]] = {}
    for ours, theirs in zip(predicted, true, strict=True):
        ours, theirs = set(ours), set(theirs)
        for place, spans in enumerate((ours & theirs, ours, theirs)):
            for *_, kind in spans:
                counts.setdefault(kind, [0, 0, 0])[place] += 1
    scores = {kind: SpanScore(*counts[kind]) for kind in sorted(counts)}
    total = [sum(count[place] for count in counts.values()) for place in range(3)]
    return scores | {"": SpanScore(*total)}
