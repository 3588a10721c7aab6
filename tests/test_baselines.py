"""The rivals: honest, repeatable, and never the reason for a crash."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_cli import baselines
from lstm_cli.baselines import majority, tfidf_logreg
from tests.conftest import small_rows


def rows(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    texts, labels = zip(*small_rows(count, seed), strict=True)
    return list(texts), np.array([label == "positive" for label in labels]).astype(np.int64)


def test_the_majority_is_the_most_frequent_training_class() -> None:
    assert majority(np.array([2, 1, 1, 0]), 3, 4).predicted.tolist() == [1, 1, 1]
    assert majority(np.array([1, 0]), 2, 2).predicted.tolist() == [0, 0]


def test_the_bag_of_words_learns_what_words_tell() -> None:
    (train, targets), (test, truth) = rows(400, 0), rows(100, 1)
    result = tfidf_logreg(train, targets, test, 2, seed=0)
    assert (result.predicted == truth).mean() > 0.8
    assert "sample" not in result.note


def test_punctuation_and_pieces_of_words_are_features() -> None:
    train = ["yes !", "no ?", "ja !", "nein ?"] * 20
    assert tfidf_logreg(train, np.array([1, 0, 1, 0] * 20), ["x !", "x ?"], 2, 0).predicted.tolist() == [1, 0]
    train = ["unlike", "unkind", "likely", "kindly"] * 20
    assert tfidf_logreg(
        train, np.array([0, 0, 1, 1] * 20), ["unfair", "fairly"], 2, 0
    ).predicted.tolist() == [0, 1]


def test_the_same_seed_gives_the_same_predictions() -> None:
    (train, targets), (test, _) = rows(200, 0), rows(100, 1)
    first, second = (tfidf_logreg(train, targets, test, 2, seed=3) for _ in range(2))
    assert first.predicted.tolist() == second.predicted.tolist()
    assert first.note == second.note


def test_more_than_two_classes_are_told_apart_and_a_class_of_one_row_is_no_crash() -> None:
    words = ["red apple", "green pear", "blue plum", "odd one"]
    train, targets = (
        [words[i % 3] for i in range(60)] + ["odd one"],
        np.array([i % 3 for i in range(60)] + [3]),
    )
    result = tfidf_logreg(train, targets, words, 4, 0)
    assert result.predicted[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("train", "targets"),
    [(["", "", " "], [0, 1, 1]), (["same words here"] * 5, [1] * 5), (["a b", "c d"], [0, 1])],
)
def test_texts_that_teach_nothing_are_no_crash(train: list[str], targets: list[int]) -> None:
    result = tfidf_logreg(train, np.array(targets), ["", "new", "same words here"], 2, 0)
    assert result.predicted.shape == (3,)
    assert set(result.predicted.tolist()) <= {0, 1}


def test_too_much_text_is_sampled_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    train, targets = rows(300, 0)
    monkeypatch.setattr(baselines, "_MAX_CHARS", sum(map(len, train)) // 3)
    result = tfidf_logreg(train, targets, train, 2, 0)
    assert "sample of " in result.note
    assert (result.predicted == targets).mean() > 0.8
