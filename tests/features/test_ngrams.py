"""The n-grams of a text are those that a plain loop finds, their weights those that scikit-learn finds."""

from __future__ import annotations

import re

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_cli.errors import CheckpointError
from lstm_cli.features import ngrams
from lstm_cli.features.ngrams import Ngrams
from tests.conftest import small_rows

ROWS = small_rows(120)
TEXTS = [text for text, _ in ROWS]
TARGETS = np.array([label == "positive" for _, label in ROWS], np.int64)
THREE = np.arange(120) % 3


CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"


def plainly(text: str, reads_chars: bool) -> set[tuple[str, ...]]:
    """The n-grams that `_ngrams` must hash, found by a plain loop."""
    words = re.findall(rf"[{CJK}]|[^\W{CJK}]+|[^\w\s]", text.lower())
    found = {("words", *words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}
    if reads_chars:
        spaced = f" {' '.join(text.lower().split())} "
        runs = [spaced[i : i + n] for n in (2, 3, 4, 5) for i in range(len(spaced) - n + 1)]
        found |= {("chars", run) for run in runs if " " not in run[1:-1]}
    return found


def hashed(texts: list[str], reads_chars: bool) -> list[set[int]]:
    rows: list[set[int]] = [set() for _ in texts]
    for numbers, hashes in ngrams._ngrams(texts, reads_chars):
        for number, value in zip(numbers.tolist(), hashes.tolist(), strict=True):
            assert value not in rows[number]
            rows[number].add(value)
    return rows


some_texts = st.lists(
    st.one_of(
        st.sampled_from(
            ["", " ", "a", "not a good film", "Good, good film!", "電影很好 good", "\n a\tb ", "\ud800x"]
        ),
        st.text(st.characters(codec="utf-8"), max_size=20),
        st.text("ab .", max_size=12),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)
@given(some_texts, st.booleans(), st.sampled_from([40, 70, 1_000_000]))
def test_two_texts_have_the_ngrams_in_common_that_a_plain_loop_finds(
    texts: list[str], reads_chars: bool, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_CHARS_AT_ONCE", at_once)
        fast = hashed(texts, reads_chars)
    plain = [plainly(text, reads_chars) for text in texts]
    for i in range(len(texts)):
        for j in range(len(texts)):
            assert len(fast[i] & fast[j]) == len(plain[i] & plain[j])


@pytest.mark.parametrize("targets", [TARGETS, THREE], ids=["two", "three"])
def test_the_weights_are_those_of_a_regression_on_log_count_ratios(targets: np.ndarray) -> None:
    from sklearn.linear_model import LogisticRegression

    learned = Ngrams.learn(TEXTS, targets)
    plain = [plainly(text, True) for text in TEXTS]
    names = sorted({name for row in plain for name in row if sum(name in other for other in plain) > 1})
    matrix = np.array([[name in row for name in names] for row in plain], float)
    classes = range(3) if targets.max() == 2 else [1]
    decisions = {}
    for candidate in ngrams._C_CANDIDATES:
        columns = []
        for one in classes:
            inside, outside = (matrix[targets == one].sum(0) + 1, matrix[targets != one].sum(0) + 1)
            ratios = np.log(inside / inside.sum()) - np.log(outside / outside.sum())
            model = LogisticRegression(C=candidate, solver="liblinear", dual=True, tol=1e-4, max_iter=10_000)
            columns.append(model.fit(matrix * ratios, targets == one).decision_function(matrix * ratios))
        decisions[candidate] = np.stack(columns, axis=1)
    logits = learned.logits(TEXTS)
    found = logits if len(classes) > 1 else logits[:, 1:] * 2
    assert min(np.abs(found - expected).mean() for expected in decisions.values()) < 0.05
    assert len(learned.keys) == len(names)
    assert (logits.argmax(axis=1) == targets).mean() > 0.8


def test_a_text_has_the_same_logits_alone_and_among_others() -> None:
    learned = Ngrams.learn(TEXTS, TARGETS)
    together = learned.logits([*TEXTS, ""])
    np.testing.assert_allclose(
        np.concatenate([learned.logits([text]) for text in [*TEXTS, ""]]), together, atol=1e-6
    )
    np.testing.assert_array_equal(together[-1], np.array([-1, 1], np.float32) * learned.bias[0] / 2)


def test_an_endless_text_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "_CHARS_AT_ONCE", 40)
    long, head = hashed(["not a good film, " * 10, ("not a good film, " * 10)[:40]], True)
    assert long == head


@given(
    st.sets(st.sampled_from([0, 1, 2**31, 2**32 - 2, 2**32 - 1]) | st.integers(0, 2**32 - 1), max_size=40),
    st.lists(st.integers(0, 2**32 - 1), max_size=20),
)
def test_hashes_in_any_order_are_found_where_bisection_finds_them(keys: set[int], others: list[int]) -> None:
    known = np.array(sorted(keys), np.uint32)
    hashes = np.array([*others, *sorted(keys, key=lambda key: key % 7), 0, 2**32 - 1], np.uint32)
    expected, places = ngrams.lookup(known, hashes)
    found, at = ngrams._Table.of(known).lookup(hashes)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(at, places)


def test_many_texts_and_many_ngrams_are_numbered_apart() -> None:
    """Their numbers take more than 4 bytes."""
    fitted = Ngrams.learn(["a b", "a b", "b", "b"], np.array([0, 0, 1, 1]))
    padding = np.setdiff1d(np.arange(70_000, dtype=np.uint32) * np.uint32(61_000), fitted.keys)
    keys = np.sort(np.concatenate([fitted.keys, padding]))
    weights = np.zeros((len(keys), 1), np.float16)
    weights[np.searchsorted(keys, fitted.keys)] = fitted.weights
    many = Ngrams(keys, weights, fitted.bias, fitted.reads_chars)
    texts = ["a", "b"] * 50_000
    np.testing.assert_array_equal(many.logits(texts), fitted.logits(["a", "b"])[[0, 1] * 50_000])


def test_texts_without_a_common_ngram_give_the_bias_alone() -> None:
    learned = Ngrams.learn(["ab", "cd", "ef", ""], np.array([0, 1, 0, 0]))
    assert len(learned.keys) == 0
    assert learned.logits(["ab", "x"]).shape == (2, 2)
    assert Ngrams.from_bytes(learned.to_bytes(), 2).logits(["ab"]).argmax() == 0


def test_much_text_is_read_by_words_alone_and_more_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(map(len, TEXTS))
    whole = Ngrams.learn(TEXTS, TARGETS)
    monkeypatch.setattr(ngrams, "_MAX_TEXT_WITH_CHARS", size - 1)
    words = Ngrams.learn(TEXTS, TARGETS)
    assert whole.reads_chars
    assert not words.reads_chars
    assert len(words.keys) < len(whole.keys)
    monkeypatch.setattr(ngrams, "_MAX_TEXT", size // 2)
    assert len(Ngrams.learn(TEXTS, TARGETS).keys) < len(words.keys)
    monkeypatch.setattr(ngrams, "_MAX_WEIGHTS", 10)
    kept = Ngrams.learn(TEXTS, TARGETS)
    assert len(kept.keys) == 10
    assert (np.diff(kept.keys.astype(np.int64)) > 0).all()


def test_ngrams_are_the_same_after_writing_and_reading() -> None:
    learned = Ngrams.learn(TEXTS, THREE)
    again = Ngrams.from_bytes(learned.to_bytes(), 3)
    np.testing.assert_array_equal(again.logits(TEXTS), learned.logits(TEXTS))
    assert again.to_bytes() == learned.to_bytes()


GOOD: dict[str, np.ndarray] = {
    "keys": np.array([1, 5], np.uint32),
    "weights": np.ones((2, 1), np.float16),
    "bias": np.zeros(1, np.float32),
    "reads_chars": np.array([True]),
}


@pytest.mark.parametrize(
    "change",
    [
        {"keys": np.array([5, 1], np.uint32)},
        {"keys": np.array([5, 5], np.uint32)},
        {"keys": np.array([[1], [5]], np.uint32)},
        {"keys": np.array([1, 5], np.int64)},
        {"weights": np.ones((3, 1), np.float16)},
        {"weights": np.ones((2, 2), np.float16)},
        {"weights": np.full((2, 1), np.nan, np.float16)},
        {"bias": np.array([np.inf], np.float32)},
        {"bias": np.zeros((), np.float32)},
        {"reads_chars": np.array([1], np.int64)},
        {"more": np.zeros(1, np.float32)},
        {"bias": None},
    ],
)
def test_forged_weights_are_refused(change: dict[str, np.ndarray | None]) -> None:
    tensors = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    Ngrams.from_bytes(safetensors.numpy.save(GOOD), 2)
    with pytest.raises(CheckpointError, match=r"ngrams\.safetensors"):
        Ngrams.from_bytes(safetensors.numpy.save(tensors), 2)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"{}"])
def test_content_that_is_not_safetensors_is_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"ngrams\.safetensors"):
        Ngrams.from_bytes(content, 2)
