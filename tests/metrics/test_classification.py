"""Scores: scikit-learn's to 1e-12, intervals and verdicts that say what their names say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from lstm_cli.arrays import Float64, Int64
from lstm_cli.metrics.classification import (
    accuracy_and_macro_f1,
    bootstrap_ci,
    classification,
    paired_verdict,
    reliability,
)


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Int64, Float64]:
    """Targets and probabilities with ties, certainties and classes that never occur."""
    num_classes, n = draw(st.integers(2, 5)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    targets = rng.integers(0, draw(st.integers(1, num_classes)), n)
    kind = draw(st.sampled_from(["smooth", "coarse", "certain"]))
    if kind == "certain":
        return targets, np.eye(num_classes)[rng.integers(0, num_classes, n)]
    weights = rng.random((n, num_classes)) if kind == "smooth" else rng.integers(1, 4, (n, num_classes))
    return targets, weights / weights.sum(axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(scored_rows())
def test_every_score_is_scikit_learns(rows: tuple[Int64, Float64]) -> None:
    targets, probs = rows
    num_classes = probs.shape[1]
    names = [f"class {i}" for i in range(num_classes)]
    scores = classification(targets, probs, names)
    guess, labels = probs.argmax(axis=1), list(range(num_classes))

    def same(value: object) -> object:
        return pytest.approx(value, abs=1e-12, rel=1e-12)

    assert scores.n == len(targets)
    assert scores.accuracy == same(sk.accuracy_score(targets, guess))
    for average in ("macro", "micro", "weighted"):
        expected = sk.f1_score(targets, guess, average=average, labels=labels, zero_division=0)
        assert getattr(scores, f"{average}_f1") == same(expected), average
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn remarks on rows that sum to 1 only nearly
        assert scores.log_loss == same(sk.log_loss(targets, probs, labels=labels))
    assert (scores.confusion == sk.confusion_matrix(targets, guess, labels=labels)).all()
    table = sk.precision_recall_fscore_support(targets, guess, labels=labels, zero_division=0)
    for i, name in enumerate(names):
        ours = scores.per_class[name]
        theirs = [column[i] for column in table]
        assert [ours.precision, ours.recall, ours.f1, ours.support] == same(theirs)
    if num_classes == 2 and len(set(targets.tolist())) == 2:
        assert scores.roc_auc == same(sk.roc_auc_score(targets, probs[:, 1]))
    else:
        assert scores.roc_auc is None
        assert "roc_auc" not in scores.scalars()
    assert accuracy_and_macro_f1(targets, guess, num_classes) == (scores.accuracy, scores.macro_f1)


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    # four rows at confidence 0.9, two of them right; one row at 0.6, right
    probs = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]])
    targets = np.array([0, 0, 1, 1, 1])
    assert classification(targets, probs, ["a", "b"]).ece == pytest.approx((4 * 0.4 + 1 * 0.4) / 5)
    confidence, accuracy, count = reliability(targets, probs)
    assert confidence.tolist() == pytest.approx([0.6, 0.9])
    assert accuracy.tolist() == [1.0, 0.5]
    assert count.tolist() == [1, 4]


def test_a_certain_and_right_model_is_perfectly_calibrated() -> None:
    assert classification(np.array([0, 1]), np.eye(2), ["a", "b"]).ece == 0.0


def test_an_interval_holds_the_score_and_narrows_with_more_rows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 10_000):
        targets = rng.integers(0, 3, n)
        predicted = np.where(rng.random(n) < 0.8, targets, (targets + 1) % 3)
        score = accuracy_and_macro_f1(targets, predicted, 3)
        interval = bootstrap_ci(targets, predicted, 3)
        for value, name in zip(score, ("accuracy", "macro_f1"), strict=True):
            low, high = interval[name]
            assert low < value < high
        widths.append(interval["accuracy"][1] - interval["accuracy"][0])
        expected = 2 * 1.96 * np.sqrt(0.8 * 0.2 / n)  # the normal approximation
        assert widths[-1] == pytest.approx(expected, rel=0.2)
    assert widths[1] < widths[0] / 5


@pytest.mark.parametrize("num_classes", [2, 7])
def test_an_interval_is_that_of_rows_drawn_one_by_one(num_classes: int) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, num_classes, 200)
    predicted = np.where(rng.random(200) < 0.7, targets, rng.integers(0, num_classes, 200))
    predicted[predicted == 1] = 0  # a class that is never predicted
    draws = rng.integers(0, 200, (2000, 200))
    scores = np.array([accuracy_and_macro_f1(targets[i], predicted[i], num_classes) for i in draws])
    interval = bootstrap_ci(targets, predicted, num_classes, samples=4000)
    for column, name in enumerate(("accuracy", "macro_f1")):
        assert interval[name] == pytest.approx(np.quantile(scores[:, column], [0.025, 0.975]), abs=0.01)


def test_an_interval_over_many_classes_is_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    targets, predicted = rng.integers(0, 300, 2000), rng.integers(0, 300, 2000)
    whole = bootstrap_ci(targets, predicted, 300, samples=50)
    monkeypatch.setattr("lstm_cli.metrics.classification._MOST_DRAWS", 4000)
    assert bootstrap_ci(targets, predicted, 300, samples=50) == whole


def test_the_same_seed_gives_the_same_interval() -> None:
    targets, predicted = np.array([0, 1, 1, 0, 1] * 9), np.array([0, 1, 0, 0, 1] * 9)
    assert bootstrap_ci(targets, predicted, 2, seed=1) == bootstrap_ci(targets, predicted, 2, seed=1)
    assert bootstrap_ci(targets, predicted, 2, seed=1) != bootstrap_ci(targets, predicted, 2, seed=2)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 50))
def test_the_verdict_is_the_exact_binomial_test_of_the_rows_that_differ(
    ours: int, theirs: int, both: int
) -> None:
    n = ours + theirs + both
    targets = np.zeros(n, np.int64)
    a, b = np.zeros(n, np.int64), np.zeros(n, np.int64)
    b[:ours] = 1  # only ours is right
    a[ours : ours + theirs] = 1  # only theirs is right
    verdict, p = paired_verdict(targets, a, b)
    expected = binomtest(ours, ours + theirs, 0.5).pvalue if ours + theirs else 1.0
    assert p == pytest.approx(expected, rel=1e-9)
    assert verdict == ("ties" if p >= 0.05 else "beats" if ours > theirs else "loses to")


def test_a_million_rows_are_judged_too() -> None:
    n = 1_000_000
    targets, a, b = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    a[:300_000] = 1
    b[300_000:601_000] = 1
    verdict, p = paired_verdict(targets, a, b)
    assert verdict == "ties"
    assert p == pytest.approx(binomtest(300_000, 601_000, 0.5).pvalue, rel=1e-6)
