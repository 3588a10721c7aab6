"""Wrong labels are ranked above right ones, by a model that was not trained on them."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_cli.features import tfidf as baselines
from lstm_cli.features.tfidf import out_of_sample
from lstm_cli.lint.suspects import rank
from tests.conftest import small_rows


def test_planted_wrong_labels_are_the_first_suspects() -> None:
    texts, labels = zip(*small_rows(600, 0), strict=True)
    true = np.array([label == "positive" for label in labels]).astype(np.int64)
    given = true.copy()
    wrong = np.random.default_rng(0).choice(600, 30, replace=False)
    given[wrong] = 1 - given[wrong]
    scored = out_of_sample(texts, given, 2, seed=0)
    assert scored is not None
    suspected, suggested = rank(scored.probs, given)
    assert np.isin(suspected[:30], wrong).mean() > 0.8
    assert (suggested == 1 - given[suspected]).all()


def test_a_row_is_predicted_by_models_that_were_not_trained_on_its_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "_choose", lambda *_: (1.0, "fixed"))
    texts, labels = zip(*small_rows(100, 0), strict=True)
    texts = (*texts[:-1], texts[0])  # a copy, which must not reveal the label either
    given = np.array([label == "positive" for label in labels]).astype(np.int64)
    other = given.copy()
    other[[0, -1]] = 1 - other[[0, -1]]
    before, after = (out_of_sample(texts, targets, 2, seed=0) for targets in (given, other))
    assert before is not None
    assert after is not None
    assert before.probs[[0, -1]].tolist() == after.probs[[0, -1]].tolist()
    assert before.probs.tolist() != after.probs.tolist()
    assert before.probs.sum(axis=1) == pytest.approx(1)


def test_a_class_with_low_probabilities_is_suggested_where_it_is_likelier_than_usual() -> None:
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.6, 0.4]])
    assert [part.tolist() for part in rank(probs, np.array([0, 0, 1, 1, 0]))] == [[4], [1]]


def test_the_threshold_of_a_class_is_the_mean_over_its_own_rows() -> None:
    # the mean over all rows, .795 and .205, would make row 8 a suspect
    frequent = np.array([[0.9, 0.1]] * 8 + [[0.75, 0.25]] + [[0.4, 0.6]] * 2)
    assert rank(frequent, np.array([0] * 9 + [1] * 2))[0].tolist() == []
    # the mean over all rows, .496 and .504, would miss row 11
    rare = np.array([[0.4, 0.6]] * 9 + [[0.9, 0.1]] * 2 + [[0.55, 0.45]])
    assert rank(rare, np.array([1] * 9 + [0] * 3))[0].tolist() == [11]


def test_the_most_confident_contradiction_comes_first() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9], [0.7, 0.3]])
    assert rank(probs, np.array([0, 0, 0, 1, 1]))[0].tolist() == [1, 4, 2]


def test_a_label_that_no_row_carries_is_never_suggested() -> None:
    probs = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7]])
    assert 2 not in rank(probs, np.array([0, 1]))[1]


def test_rows_the_model_agrees_with_are_no_suspects() -> None:
    assert len(rank(np.eye(3), np.arange(3))[0]) == 0
