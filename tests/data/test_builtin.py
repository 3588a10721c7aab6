"""The built-in reviews: true labels, no shortcut for a bag of words, and the same rows everywhere."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.data import builtin_tables as tables
from lstm_cli.data.builtin import SIZES, Split, _Evaluation, _generate, _reversed, _Row, reviews

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

# Of "label<TAB>text" lines. A change of these changes every figure that was measured on the corpus.
DIGESTS = {
    "train": "39200d0f14d5c5bfcc84ba762f3aa51c741790254a73c4c713a550d1453c152d",
    "dev": "510916cb321c16d39b1d1a652890a4f2babad2077989b8e64d17b2bf40322173",
    "test": "a946c1916cd33c1ed36aa3b49d7e2816ebad65bf1c34a63c27dc17ab065a99ec",
}


def entries(*lists: str) -> set[str]:
    return {entry for text in lists for part in text.split(" | ") for entry in part.split(";")}


PAIRED = [tables.ADJECTIVES, *((d.positive, d.negative) for d in (*tables.DOMAINS, tables.TEST_DOMAIN))]
GOOD = entries(*(good for good, _ in PAIRED)) | {n.removeprefix("a ") for n in entries(tables.NOUNS[0])}
BAD = entries(*(bad for _, bad in PAIRED)) | {n.removeprefix("a ") for n in entries(tables.NOUNS[1])}
HELD_OUT_POLARITY = {
    word.removeprefix("a ")
    for text in (*(text for pair in PAIRED for text in pair), *tables.NOUNS)
    for word in text.partition(" | ")[2].split(";")
} - {""}
NEGATOR = r"\b(?:not|n't|never|far from|anything but|by no means|in no way|nowhere near|the opposite of)\b"
SAID = re.compile(  # a word of either polarity, and the negator that stands over it, if one does
    rf"(?P<negator>(?:{NEGATOR}(?: (?:at all|once|in the least|remotely|by any means|in any way))?|n't at all) )?"
    rf"(?:an? )?\b(?P<word>{'|'.join(sorted(GOOD | BAD))})\b"
)


@pytest.fixture(scope="module")
def corpus() -> dict[Split, list[_Row]]:
    return {split: _generate(split) for split in SPLITS}


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)*|[^\w\s]", text.lower())


def verdicts(text: str) -> list[str]:
    """What each evaluation of a text says by itself, in the order of the text, read without the generator."""
    found = []
    for said in SAID.finditer(text.lower().replace("n't ", " not ")):
        good = (said["word"] in GOOD) != bool(said["negator"])
        found.append("positive" if good else "negative")
    return found


def test_the_rows_are_the_same_on_every_machine_and_python() -> None:
    for split in SPLITS:
        lines = "\n".join(f"{label}\t{text}" for text, label in reviews(split))
        assert hashlib.sha256(lines.encode()).hexdigest() == DIGESTS[split], split


def test_a_second_reading_gives_the_same_rows() -> None:
    assert list(reviews("dev")) == list(reviews("dev"))


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_its_size_and_half_of_each_label(
    corpus: dict[Split, list[_Row]], split: Split
) -> None:
    counts = Counter(row.label for row in corpus[split])
    assert counts == {"negative": SIZES[split] // 2, "positive": SIZES[split] // 2}


@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_mixed_from_the_first_row_on(corpus: dict[Split, list[_Row]], split: Split) -> None:
    rows = corpus[split]
    for start in range(0, len(rows), 500):
        share = sum(row.label == "positive" for row in rows[start : start + 500]) / 500
        assert 0.4 < share < 0.6


def test_no_text_occurs_twice_in_a_split_or_across_them(corpus: dict[Split, list[_Row]]) -> None:
    texts = Counter(row.text.lower() for rows in corpus.values() for row in rows)
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_reordering_of_a_train_text_is_in_dev_or_test(corpus: dict[Split, list[_Row]]) -> None:
    bags = {split: {" ".join(sorted(words_of(row.text))) for row in corpus[split]} for split in SPLITS}
    assert not bags["train"] & bags["dev"]
    assert not bags["train"] & bags["test"]


def test_half_of_the_hard_rows_have_a_partner_of_the_same_words_and_the_other_label(
    corpus: dict[Split, list[_Row]],
) -> None:
    labels = defaultdict(set)
    for row in corpus["test"]:
        labels[" ".join(sorted(words_of(row.text)))].add(row.label)
    hard = [row for row in corpus["test"] if row.template not in tables.PLAIN]
    partnered = [row for row in hard if len(labels[" ".join(sorted(words_of(row.text)))]) == 2]
    assert len(partnered) / len(hard) > 0.5
    assert len(partnered) / len(corpus["test"]) > 0.25


def test_no_word_but_those_of_polarity_leans_to_a_label(corpus: dict[Split, list[_Row]]) -> None:
    for split in SPLITS:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in corpus[split]:
            for word in set(words_of(row.text)):
                counts[word][row.label] += 1
        for word, seen in counts.items():
            if seen.total() <= 50:
                continue
            log_odds = abs(math.log((seen["positive"] + 1) / (seen["negative"] + 1)))
            if word not in GOOD | BAD:
                assert log_odds < math.log(0.6 / 0.4), (split, word, seen)
            elif word not in HELD_OUT_POLARITY:  # these are spread over all templates
                assert log_odds < math.log(0.8 / 0.2), (split, word, seen)
            assert log_odds < math.log(0.9 / 0.1), (split, word, seen)


def test_dev_has_the_templates_of_train_and_test_has_more(corpus: dict[Split, list[_Row]]) -> None:
    templates = {split: {row.template for row in corpus[split]} for split in SPLITS}
    assert templates["dev"] <= templates["train"]
    held_out = set(tables.TEST_CONTRAST) | set(tables.TEST_PAIRS)
    assert templates["test"] - templates["train"] == held_out
    assert 0.2 < sum(row.template in held_out for row in corpus["test"]) / SIZES["test"] < 0.3


def test_most_test_rows_hold_a_word_that_train_never_shows_but_no_unseen_polarity(
    corpus: dict[Split, list[_Row]],
) -> None:
    seen = {word for row in corpus["train"] for word in words_of(row.text)}
    unseen = [[word for word in words_of(row.text) if word not in seen] for row in corpus["test"]]
    assert sum(map(bool, unseen)) / len(unseen) > 0.6
    assert not {word for words in unseen for word in words} & (GOOD | BAD)


def test_held_out_polarity_words_are_negated_in_test_alone(corpus: dict[Split, list[_Row]]) -> None:
    negated = {
        split: {
            said["word"]
            for row in corpus[split]
            for said in SAID.finditer(row.text.lower().replace("n't ", " not "))
            if said["negator"]
        }
        for split in SPLITS
    }
    assert not negated["train"] & HELD_OUT_POLARITY
    assert len(negated["test"] & HELD_OUT_POLARITY) > 20


# Where the verdict stands among the evaluations of a text, as a reader of the template would say.
FIRST = [
    "found-called",
    "was-expected",
    "turned-expected",
    "was-read",
    "was-could",
    "listen-if",
    "now-used",
    "me-some",
    "whole-part",
    "what-i-call",
    "got-expected",
    "and-not",
    "lasting-now",
    "lasting-this-year",
    "lasting-is-now",
    "story-end",
    "story-by-the-end",
    "story-end-found",
    "story-found-was",
    "was-called",
    "turned-read",
]
LAST = [t for t in tables.CONTRAST | tables.TEST_CONTRAST if t not in (*FIRST, "called-too")]


def test_the_label_is_the_verdict_of_the_clause_that_counts(corpus: dict[Split, list[_Row]]) -> None:
    wrong, read = [], 0
    for rows in corpus.values():
        for row in rows:
            said = verdicts(row.text)
            match row.template:
                case name if name in tables.PLAIN:
                    expected = set(said)
                case name if name in FIRST:
                    expected = {said[0]}
                case name if name in LAST:
                    expected = {said[-1]}
                case "called-too":
                    expected = {said[1], said[2]}
                case _:
                    continue
            read += 1
            if expected != {row.label}:
                wrong.append((row.template, row.label, said, row.text))
    assert read > 8000
    assert wrong == []


def test_one_word_in_the_frame_turns_what_is_said(corpus: dict[Split, list[_Row]]) -> None:
    turns = "n(?:ot|'t) disagree|would be wrong|[Nn]obody would call|could claim|would claim|was wrong"
    framed = ["more", "would", "call", "deny", "would-deny", "said", "I-said", "thought", "expected-right"]
    read = 0
    for rows in corpus.values():
        for row in rows:
            if row.template in framed:
                read += 1
                turned = re.search(turns, row.text) is not None
                assert (verdicts(row.text)[0] == row.label) != turned, row
    assert read > 1000


def test_who_was_right_and_who_was_wrong_is_a_matter_of_order(corpus: dict[Split, list[_Row]]) -> None:
    rows = [row for rows in corpus.values() for row in rows if row.template == "right-wrong"]
    assert len(rows) > 100
    for row in rows:
        assert (verdicts(row.text)[0] == row.label) == ("I was right" in row.text), row


@given(
    st.lists(
        st.builds(
            _Evaluation,
            st.sampled_from([1, -1]),
            st.integers(0, 9),
            st.sampled_from(["truly", "not", ""]),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_reversing_evaluations_changes_each_verdict_and_twice_changes_nothing(
    evaluations: list[_Evaluation],
) -> None:
    other = _reversed(evaluations)
    assert [e.verdict for e in other] == [-e.verdict for e in evaluations]
    assert _reversed(other) == evaluations


@pytest.mark.parametrize("split", SPLITS)
def test_every_text_reads_as_english(corpus: dict[Split, list[_Row]], split: Split) -> None:
    for row in corpus[split]:
        assert re.fullmatch(r"[A-Z][^{}]*[.]", row.text), row
        assert not re.search(r"\s\s|\s[.,:;!]|[.!] [a-z]", row.text), row
        assert not re.search(r"\b[Aa] [aeiouAEIOU]|\b[Aa]n [^aeiouAEIOU]", row.text), row
        assert 4 <= len(words_of(row.text)) <= 50, row
        assert not re.search(r"\b(\w+) \1\b", row.text), row


def test_the_lists_of_opposites_match_in_length() -> None:
    for good, bad in (*PAIRED, tables.NOUNS):
        for one, other in zip(good.split(" | "), bad.split(" | "), strict=True):
            assert len(one.split(";")) == len(other.split(";"))
    assert not GOOD & BAD
