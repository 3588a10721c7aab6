"""The baselines: fitted on training texts alone, repeatable, and never the reason for a crash."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_cli.features import linear
from lstm_cli.features import tfidf as baselines
from lstm_cli.features.tfidf import majority, tfidf_logreg
from tests.conftest import small_rows


def rows(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    texts, labels = zip(*small_rows(count, seed), strict=True)
    return list(texts), np.array([label == "positive" for label in labels]).astype(np.int64)


def test_the_majority_is_the_most_frequent_training_class() -> None:
    assert majority(np.array([2, 1, 1, 0]), 3, 4).predicted.tolist() == [1, 1, 1]
    assert majority(np.array([1, 0]), 2, 2).predicted.tolist() == [0, 0]


def test_tfidf_learns_which_words_belong_to_a_class() -> None:
    (train, targets), (test, truth) = rows(400, 0), rows(100, 1)
    result = tfidf_logreg(train, targets, test, 2, seed=0)
    assert (result.predicted == truth).mean() > 0.8
    assert "sample" not in result.note


def test_a_text_is_predicted_the_same_whatever_texts_are_predicted_with_it() -> None:
    rng = np.random.default_rng(0)
    train = [
        " ".join(rng.choice(list("abcdefghij"), 4)) for _ in range(60)
    ]  # random labels: near the threshold
    targets = rng.integers(0, 2, 60)
    texts = [" ".join(rng.choice(list("abcdefghijk"), 4)) for _ in range(200)]  # k is in no training text
    company = [" ".join(rng.choice(list("abk"), 6)) for _ in range(2_000)]
    alone = tfidf_logreg(train, targets, texts, 2, 0)
    together = tfidf_logreg(train, targets, [*texts, *company], 2, 0)
    assert together.predicted[:200].tolist() == alone.predicted.tolist()
    assert together.note == alone.note
    assert tfidf_logreg(train, targets, texts[:1], 2, 0).predicted[0] == alone.predicted[0]


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


def test_more_than_two_classes_are_learned_and_a_class_of_one_row_is_no_crash() -> None:
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


def test_phrases_without_spaces_or_punctuation_are_learned_from_their_pieces() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(200) % 2
    fillers = ["".join(rng.choice(list("天地人山水火木金土日月星云风雨雷电你我他"), 6)) for _ in targets]
    texts = [filler + ("难看", "好看")[target] for filler, target in zip(fillers, targets, strict=True)]
    result = tfidf_logreg(texts[:150], targets[:150], texts[150:], 2, 0)
    assert (result.predicted == targets[150:]).mean() > 0.95


def test_a_sample_keeps_every_class_and_its_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.array([0] * 600 + [1] * 300 + [2])
    texts = [f"{['red', 'green', 'odd'][target]} {i % 7}" for i, target in enumerate(targets)]
    monkeypatch.setattr(baselines, "_MAX_CHARS", sum(map(len, texts)) // 10)
    drawn = linear.sample(
        targets, np.array(list(map(len, texts))), baselines._MAX_CHARS, np.random.default_rng(0)
    )
    assert np.bincount(targets[drawn]).tolist() == pytest.approx([60, 30, 1], abs=2)
    assert tfidf_logreg(texts, targets, ["red", "green"], 3, 0).predicted.tolist() == [0, 1]


def test_many_classes_are_fitted_on_fewer_rows_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.arange(400) % 4
    texts = [f"{['red', 'green', 'blue', 'odd'][target]} {i % 7}" for i, target in enumerate(targets)]
    monkeypatch.setattr(baselines, "_MAX_FIT", 2 * sum(map(len, texts)))
    assert "sample of 200 of 400" in tfidf_logreg(texts, targets, texts, 4, 0).note
    two = tfidf_logreg(texts, targets % 2, texts, 2, 0)
    assert "sample" not in two.note
    assert (two.predicted == targets % 2).all()


def test_a_class_that_no_training_row_has_is_never_predicted() -> None:
    result = tfidf_logreg(["red a", "blue b"] * 20, np.array([3, 1] * 20), ["red", "blue", ""], 5, 0)
    assert result.predicted[:2].tolist() == [3, 1]


def test_no_rows_to_predict_give_no_predictions() -> None:
    assert tfidf_logreg(["red a", "blue b"] * 20, np.array([0, 1] * 20), [], 2, 0).predicted.shape == (0,)


def test_a_fit_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    train, targets = rows(300, 0)
    monkeypatch.setattr(baselines, "MAX_ITERATIONS", 1)
    monkeypatch.setattr(linear, "MAX_ITERATIONS", 1)
    assert "not converged" in tfidf_logreg(train, targets, train, 2, 0).note
    monkeypatch.undo()
    assert "not converged" not in tfidf_logreg(train, targets, train, 2, 0).note


def test_c_is_chosen_on_rows_that_were_not_fitted() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(1500) % 2
    said = np.where(
        rng.random(1500) < 0.7, targets, 1 - targets
    )  # a small C is best: one word alone carries the label
    texts = [f"{('bad', 'good')[word]} " + " ".join(map(str, rng.integers(0, 4000, 4))) for word in said]
    note = tfidf_logreg(texts, targets, texts, 2, 0).note
    assert "C = 0.3," in note or "C = 1," in note
