"""`builtin:reviews`: short synthetic reviews in which the order of the words decides, made by a seeded generator.

A template says which of its evaluations agree with the writer's verdict and which only report another opinion. A
negator reverses an evaluation. Every filled template is written twice, once for each verdict, if possible with the same
words in another order. So a bag of words contains little information about the label, and the sequence contains all of
it. Some test rows use templates, topics, people, places and filler phrases that train never contains, and negate words
that are never negated in train; every polarity word of test occurs in train.

The rows depend only on the sequence of `random.Random(seed).random()`, which is the same in all versions of Python.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from random import Random
from typing import Literal, NamedTuple, TypeVar

from lstm_cli.data import builtin_tables as tables

Split = Literal["train", "dev", "test"]
T = TypeVar("T")

SIZES: dict[Split, int] = {"train": 10_000, "dev": 1_000, "test": 2_000}
"""Rows of each split, half of them of each label."""

_SEEDS: dict[Split, int] = {"train": 11, "dev": 12, "test": 13}
_HELD_OUT_RATE = 0.25
"""The probability that a test row uses a held-out template, or a held-out entry of a list that has such entries."""


class _Family(NamedTuple):
    weight: float
    negated: float  # the fraction of evaluations that are negated
    templates: Mapping[str, str | tuple[str, str]]


# Plain rows teach which words are good and bad, and a bag of words gets its score from them. With 45 % plain rows, a
# third of them negated, a network stayed at chance for two epochs and a bag of words reached 57 to 64 %.
_FAMILIES = (
    _Family(0.63, 0.1, tables.PLAIN),
    _Family(0.23, 0.2, tables.CONTRAST),
    _Family(0.14, 0.1, tables.PAIRS),
)
_TEST_FAMILIES = (_Family(0.8, 0.2, tables.TEST_CONTRAST), _Family(0.2, 0.1, tables.TEST_PAIRS))

_SLOT = re.compile(r"(is |was )?\{([BCDEXcdx])\}")
_NEGATOR = re.compile(r"\b(?:not|never|far from) \{")  # in a template
_CONTRACTED = re.compile(r"\b(was|is|did|do|had|could|would) not\b")


class _Row(NamedTuple):
    text: str
    label: str
    template: str


class _Evaluation(NamedTuple):
    """An evaluative word, given by its polarity (1 or -1) and its place in that polarity's list, with a modifier."""

    polarity: int
    rank: int
    modifier: str
    negated: bool

    @property
    def verdict(self) -> int:
        return -self.polarity if self.negated else self.polarity


def reviews(split: Split) -> Iterator[tuple[str, str]]:
    """The rows of a split as (text, "negative" or "positive"), the same in every call and on every machine."""
    for row in _generate(split):
        yield row.text, row.label


def _generate(split: Split) -> list[_Row]:
    """All rows of a split, shuffled, with the names of their templates."""
    writer = _Writer(split)
    rows: dict[str, _Row] = {}
    while len(rows) < SIZES[split]:
        pair = writer.pair()
        if _home(pair) == split and not any(row.text in rows for row in pair):
            rows.update((row.text, row) for row in pair)
    return sorted(rows.values(), key=lambda _: writer.random())


def _home(pair: tuple[_Row, _Row]) -> Split:
    """The only split that a pair can be in.

    It depends on the words but not on their order, so no text is in two splits.
    """
    words = sorted(re.findall(r"\w+", f"{pair[0].text} {pair[1].text}".lower()))
    bucket = zlib.crc32(" ".join(words).encode()) % 4
    return "dev" if bucket == 0 else "test" if bucket == 1 else "train"


class _Writer:
    """Draws the rows of one split from one stream of random numbers."""

    def __init__(self, split: Split) -> None:
        self.random = Random(_SEEDS[split]).random
        self.test = split == "test"

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def word(self, entries: str) -> str:
        """A random entry of a list. Only test rows use held-out entries."""
        shared, held_out = _split_entries(entries)
        novel = self.test and bool(held_out) and self.chance(_HELD_OUT_RATE)
        return self.pick(held_out if novel else shared)

    def pair(self) -> tuple[_Row, _Row]:
        """One template, filled once, as a row for each verdict."""
        family = self.family()
        name, texts = self.pick(list(family.templates.items()))
        text, other_text = (texts, texts) if isinstance(texts, str) else texts
        domain = self.domain(name.partition("-")[0])
        slots = _SLOT.findall(text)
        nouns = not any(slot.islower() for _, slot in slots) and self.chance(0.2)
        words, num_safe = _word_lists(domain, nouns, general="{kind}" in text)
        num_words = num_safe if not self.test and _NEGATOR.search(text + other_text) else len(words[1])
        evaluations = self.evaluations(slots, family.negated, nouns, num_words, num_safe)
        other = _reversed(evaluations) if text == other_text else evaluations
        agreeing = [e for (_, slot), e in zip(slots, evaluations, strict=True) if slot in "BCXcx"]
        frame, fills, contracted = self.frame(domain), self.fills(domain), self.chance(0.4)

        def row(text: str, evaluations: Sequence[_Evaluation], verdict: int) -> _Row:
            phrases = {
                slot: f"{e.modifier} {words[e.polarity][e.rank]}".lstrip()
                for (_, slot), e in zip(slots, evaluations, strict=True)
            }
            text = frame.replace("{text}", text).format_map(fills | phrases).format_map(fills)
            return _Row(_polished(text, contracted), "positive" if verdict > 0 else "negative", name)

        verdict = agreeing[0].verdict
        return row(text, evaluations, verdict), row(other_text, other, -verdict)

    def family(self) -> _Family:
        families = _TEST_FAMILIES if self.test and self.chance(_HELD_OUT_RATE) else _FAMILIES
        at = self.random()
        for family in families:
            at -= family.weight
            if at < 0:
                return family
        return families[-1]

    def domain(self, scope: str) -> tables.Domain:
        """A random domain of this `scope`, or of any scope if no domain has this one."""
        if self.test and scope != "story" and self.chance(0.1):
            return tables.TEST_DOMAIN
        return self.pick([domain for domain in tables.DOMAINS if domain.scope == scope] or tables.DOMAINS)

    def frame(self, domain: tables.Domain) -> str:
        """A format string: {text} is the review; the sentences around it contain no evaluation."""
        before = self.word(domain.asides) + ". " if self.chance(0.35) else ""
        after = " " + self.word(tables.CLOSERS) + "." if self.chance(0.25) else ""
        return before + "{text}" + after

    def fills(self, domain: tables.Domain) -> dict[str, str]:
        """The words for the slots that do not hold evaluations. The words for {s} can contain {kind} or {name}."""
        fills = {slot: self.word(entries) for slot, entries in tables.FILLS.items()}
        fills["kind"] = self.word(domain.kinds)
        fills["name"] = "".join(self.word(syllables) for syllables in tables.SYLLABLES)
        aspect = other = self.word(domain.aspects)
        while other == aspect:
            other = self.word(domain.aspects)
        place = " " + self.word(domain.places) if self.chance(0.3) else ""
        return fills | {"s": f"the {aspect}{place}", "t": f"the {other}"}

    def evaluations(
        self,
        slots: Sequence[tuple[str, str]],
        negated_rate: float,
        nouns: bool,
        num_words: int,
        num_safe: int,
    ) -> list[_Evaluation]:
        """One evaluation per slot, all with different words.

        The verdict is positive with probability 0.5. Slots in capitals are negated with probability `negated_rate`.
        """
        negated = [slot.isupper() and self.chance(negated_rate) for _, slot in slots]
        adverbs = [tables.ADVERBS, tables.NOUN_ADVERBS if nouns else tables.ADJECTIVE_ADVERBS]
        negators = [tables.NEGATORS] + [tables.FINITE_NEGATORS] * all(verb for verb, _ in slots)
        if any(negated) and not self.test:
            # for all words of the row: `_reversed` can give a negator to another word
            num_words = num_safe
        verdict = self.pick((1, -1))
        evaluations: list[_Evaluation] = []
        for (_, slot), is_negated in zip(slots, negated, strict=True):
            rank = self.pick([r for r in range(num_words) if all(r != e.rank for e in evaluations)])
            modifier = ""
            if is_negated:
                modifier = self.word(self.pick(negators))
            elif slot.isupper() and self.chance(0.45):
                modifier = self.word(self.pick(adverbs))
            wanted = -verdict if slot in "DEd" else verdict
            evaluations.append(_Evaluation(-wanted if is_negated else wanted, rank, modifier, is_negated))
        return evaluations


@cache
def _split_entries(entries: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries of a list that every split uses, and those held out for test."""
    shared, _, held_out = entries.partition(" | ")
    return tuple(shared.split(";")), tuple(held_out.split(";")) if held_out else ()


@cache
def _word_lists(domain: tables.Domain, nouns: bool, general: bool) -> tuple[dict[int, list[str]], int]:
    """The words of a domain by polarity and rank, and how many of them, from the first on, train can negate."""
    sources = [tables.NOUNS] if nouns else [tables.ADJECTIVES]
    if not nouns and not general:
        sources.append((domain.positive, domain.negative))
    words: dict[int, list[str]] = {}
    for polarity, column in ((1, 0), (-1, 1)):
        shared, held_out = zip(*(_split_entries(source[column]) for source in sources), strict=True)
        words[polarity] = [word for entries in (*shared, *held_out) for word in entries]
    return words, sum(len(_split_entries(positive)[0]) for positive, _ in sources)


def _reversed(evaluations: Sequence[_Evaluation]) -> list[_Evaluation]:
    """The same evaluations with every verdict reversed: two words or modifiers swap places, or else antonyms."""
    if len(evaluations) == 2:
        a, b = evaluations
        if a.polarity != b.polarity:
            return [
                b._replace(modifier=a.modifier, negated=a.negated),
                a._replace(modifier=b.modifier, negated=b.negated),
            ]
        if a.negated != b.negated:
            return [
                a._replace(modifier=b.modifier, negated=b.negated),
                b._replace(modifier=a.modifier, negated=a.negated),
            ]
    return [e._replace(polarity=-e.polarity) for e in evaluations]


def _polished(text: str, contracted: bool) -> str:
    """`text` with "an" before vowels and capitals at the start of sentences; `contracted`: "wasn't" for "was not"."""
    if contracted:
        text = _CONTRACTED.sub(r"\1n't", text)
    text = re.sub(r"\ba (?=[aeiou])", "an ", text)
    return re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)
