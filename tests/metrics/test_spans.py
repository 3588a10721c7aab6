"""Spans in all schemes, and their scores as conlleval counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_cli.metrics.spans import Scheme, Span, may_follow, scheme_of, span_scores, spans_of, tags_of

SCHEMES: tuple[Scheme, ...] = ("iob1", "bio", "bioes", "bilou")


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, list[Span]]:
    """A length, and spans in order that do not overlap, some of them next to each other."""
    spans, at = [], 0
    for gap, size, kind in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "LOC"])), max_size=6)
    ):
        spans.append((at + gap, at + gap + size, kind))
        at += gap + size
    return at + draw(st.integers(1, 3)), spans


@given(sentence=sentences(), scheme=st.sampled_from(SCHEMES))
def test_tags_say_the_same_spans_in_every_scheme(sentence: tuple[int, list[Span]], scheme: Scheme) -> None:
    length, spans = sentence
    tags = tags_of(spans, length, scheme)
    assert len(tags) == length
    assert spans_of(tags) == spans


@given(sentence=sentences())
def test_legal_pairs_are_those_of_the_scheme(sentence: tuple[int, list[Span]]) -> None:
    length, spans = sentence
    tags = tags_of(spans, length, "bio")
    assert all(map(may_follow, [None, *tags], [*tags, None]))
    assert not may_follow("O", "I-PER")
    assert not may_follow("B-LOC", "I-PER")
    assert not may_follow(None, "I-PER")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_is_recognised(scheme: Scheme) -> None:
    spans = [(0, 1, "PER"), (1, 3, "PER"), (4, 7, "LOC")]
    assert scheme_of([tags_of(spans, 8, scheme), ["O", "O"]]) == scheme


@pytest.mark.parametrize(
    "sentence",
    [["NOUN", "VERB"], ["O", "O"], ["B-X", "I-X"], ["O", "X-PER"], ["O", "B-"], ["O", "B-X", "E-X", "L-X"]],
)
def test_other_tags_mark_no_spans(sentence: list[str]) -> None:
    assert scheme_of([sentence]) is None


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["I-PER", "I-PER"], [(0, 2, "PER")]),
        (["O", "I-PER", "I-LOC"], [(1, 2, "PER"), (2, 3, "LOC")]),
        (["B-PER", "I-LOC"], [(0, 1, "PER"), (1, 2, "LOC")]),
        (["B-PER", "B-PER"], [(0, 1, "PER"), (1, 2, "PER")]),
        (["E-PER", "E-PER"], [(0, 1, "PER"), (1, 2, "PER")]),
        (["B-PER", "O", "I-PER"], [(0, 1, "PER"), (2, 3, "PER")]),
    ],
)
def test_broken_tags_are_read_as_conlleval_reads_them(tags: list[str], spans: list[Span]) -> None:
    assert spans_of(tags) == spans


def test_precision_recall_and_f1_of_each_type_and_of_all() -> None:
    true = [[(0, 2, "PER"), (3, 4, "LOC")], [(0, 1, "PER")]]
    ours = [[(0, 2, "PER"), (3, 5, "LOC")], [(0, 1, "LOC")]]
    scores = span_scores(ours, true)
    assert list(scores) == ["LOC", "PER", ""]
    assert (scores["PER"].precision, scores["PER"].recall) == (1.0, 0.5)
    assert scores["PER"].f1 == pytest.approx(2 / 3)
    assert (scores["LOC"].num_right, scores["LOC"].num_predicted, scores["LOC"].num_true) == (0, 2, 1)
    assert (scores["LOC"].precision, scores["LOC"].recall, scores["LOC"].f1) == (0.0, 0.0, 0.0)
    assert scores[""].f1 == pytest.approx(2 / 6)
    assert span_scores([[]], [[]])[""].f1 == 0.0
