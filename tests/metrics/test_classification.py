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
    classification,
    confusion_counts,
    intervals,
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
    present = sorted({*targets.tolist(), *guess.tolist()})

    def same(value: object) -> object:
        return pytest.approx(value, abs=1e-12, rel=1e-12)

    assert scores.n == len(targets)
    assert scores.accuracy == same(sk.accuracy_score(targets, guess))
    for average in ("macro", "micro", "weighted"):
        expected = sk.f1_score(targets, guess, average=average, labels=present, zero_division=0)
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
        assert scores.pr_auc == same(sk.average_precision_score(targets, probs[:, 1]))
    else:
        assert scores.roc_auc is None
        assert "roc_auc" not in scores.scalars()
    assert scores.absent == [names[i] for i in labels if i not in present]
    assert accuracy_and_macro_f1(targets, guess, num_classes) == (scores.accuracy, scores.macro_f1)


def test_a_class_that_is_neither_in_the_rows_nor_predicted_is_no_part_of_the_mean() -> None:
    scores = classification(np.array([1, 1]), np.array([[0.1, 0.9], [0.2, 0.8]]), ["negative", "positive"])
    assert (scores.macro_f1, scores.absent) == (1.0, ["negative"])
    wrong = classification(np.array([1, 1]), np.array([[0.1, 0.9], [0.8, 0.2]]), ["negative", "positive"])
    assert wrong.absent == []  # predicted once, and wrongly
    assert wrong.macro_f1 == pytest.approx((0 + 2 / 3) / 2)


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
        interval = intervals(confusion_counts(targets, predicted, 3))
        for value, name, tolerance in zip(score, ("accuracy", "macro_f1"), (0.2, 0.3), strict=True):
            low, high = interval[name]
            assert low < value < high
            widths.append(high - low)
            expected = 2 * 1.96 * np.sqrt(0.8 * 0.2 / n)  # the normal approximation
            assert widths[-1] == pytest.approx(expected, rel=tolerance)
    assert max(widths[2:]) < min(widths[:2]) / 5


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_interval_of_accuracy_is_wilsons_as_scipy_has_it(right: int, wrong: int) -> None:
    if right + wrong == 0:
        return
    expected = binomtest(right, right + wrong).proportion_ci(method="wilson")
    # the wrong rows are those of another class, predicted as the first
    found = intervals(np.array([[right, 0], [wrong, 0]]))["accuracy"]
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 2**32))
def test_no_interval_is_a_point_and_each_holds_its_score(num_classes: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, num_classes, n)
    for predicted in (targets, (targets + 1) % num_classes, rng.integers(0, num_classes, n)):
        interval = intervals(confusion_counts(targets, predicted, num_classes))
        score = accuracy_and_macro_f1(targets, predicted, num_classes)
        for value, name in zip(score, ("accuracy", "macro_f1"), strict=True):
            low, high = interval[name]
            assert 0 <= low <= value <= high <= 1
            assert high - low > 0.01


def test_two_balanced_classes_without_a_mistake_have_one_interval_for_both_scores() -> None:
    found = intervals(np.array([[60, 0], [0, 60]]))
    assert found["macro_f1"] == pytest.approx(found["accuracy"], abs=1e-12)
    rare = intervals(np.array([[396, 0], [0, 4]]))
    assert rare["macro_f1"][0] < 0.9 < rare["accuracy"][0]  # four rows say little about their class


@pytest.mark.parametrize(
    ("n", "prior", "recall"),
    [
        (60, [0.5, 0.5], [0.98, 0.98]),
        (400, [0.99, 0.01], [0.995, 0.7]),
        (300, [0.6, 0.3, 0.1], [0.95, 0.8, 0.6]),
    ],
)
def test_nineteen_of_twenty_intervals_hold_the_true_macro_f1(
    n: int, prior: list[float], recall: list[float]
) -> None:
    others = len(prior) - 1
    cells = np.array(
        [
            [p * (r if i == j else (1 - r) / others) for j in range(others + 1)]
            for i, (p, r) in enumerate(zip(prior, recall, strict=True))
        ]
    )
    true = (2 * np.diagonal(cells) / (cells.sum(axis=0) + cells.sum(axis=1))).mean()
    rng = np.random.default_rng(0)
    drawn = [rng.multinomial(n, cells.ravel()).reshape(cells.shape) for _ in range(400)]
    bounds = [intervals(confusion)["macro_f1"] for confusion in drawn]
    assert np.mean([low <= true <= high for low, high in bounds]) > 0.94


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
