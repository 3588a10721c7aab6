"""Classification metrics in NumPy. The tests compare every number with scikit-learn, within 1e-12."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Float64, Int64
from lstm_cli.metrics.metric import Metric

ACCURACY = Metric("accuracy", "accuracy", higher_is_better=True, format=".2%")
MACRO_F1 = Metric("macro_f1", "macro F1", higher_is_better=True)
LOG_LOSS = Metric("log_loss", "log loss", higher_is_better=False)
METRICS = (
    ACCURACY,
    MACRO_F1,
    Metric("micro_f1", "micro F1", higher_is_better=True, in_summary=False),
    Metric("weighted_f1", "weighted F1", higher_is_better=True, in_summary=False),
    Metric("roc_auc", "ROC AUC", higher_is_better=True),
    LOG_LOSS,
    Metric("ece", "ECE", higher_is_better=False, format=".1%"),
)
"""All metrics that `train.select_by` and `--fail-under` may name."""

_ECE_BINS = 15
_SIGNIFICANCE = 0.05
_MOST_DRAWS = 5_000_000
"""Maximum number of resampled counts in memory at a time: 40 MB."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class against all others. A ratio with denominator 0 is 0."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Classification:
    """All scores of N rows over C classes. `confusion` (C, C) has true classes in rows, predicted ones in columns."""

    n: int
    accuracy: float
    macro_f1: float
    micro_f1: float
    weighted_f1: float
    log_loss: float
    ece: float
    roc_auc: float | None
    per_class: dict[str, ClassScores]
    confusion: Int64

    def scalars(self) -> dict[str, float]:
        """Scores that are single numbers, by name. `roc_auc` is left out if it is undefined."""
        values = {name: getattr(self, name) for name in (metric.name for metric in METRICS)}
        return {name: value for name, value in values.items() if value is not None}


def classification(targets: Int64, probs: Float64, label_names: Sequence[str]) -> Classification:
    """Score probabilities: (N,) class numbers, (N, C) rows that sum to 1, C names -> Classification.

    A row's prediction is its most probable class; of equally probable classes, the first one.
    """
    num_classes = len(label_names)
    confusion = confusion_counts(targets, probs.argmax(axis=1), num_classes)
    precision, recall, f1 = _precision_recall_f1(confusion)
    support = confusion.sum(axis=1)
    accuracy = float(np.trace(confusion) / len(targets))
    return Classification(
        n=len(targets),
        accuracy=accuracy,
        macro_f1=float(f1.mean()),
        micro_f1=accuracy,  # with one label per row, every false positive is also a false negative
        weighted_f1=float((f1 * support).sum() / support.sum()),
        log_loss=_log_loss(targets, probs),
        ece=_ece(targets, probs),
        roc_auc=_roc_auc(targets == 1, probs[:, 1]) if num_classes == 2 else None,
        per_class={
            name: ClassScores(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(label_names)
        },
        confusion=confusion,
    )


def confusion_counts(targets: Int64, predicted: Int64, num_classes: int) -> Int64:
    """The confusion matrix: (N,), (N,) -> (C, C), with true classes in rows, predicted ones in columns."""
    cells = np.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def accuracy_and_macro_f1(targets: Int64, predicted: Int64, num_classes: int) -> tuple[float, float]:
    """Accuracy and macro F1 of class numbers (N,), (N,)."""
    confusion = confusion_counts(targets, predicted, num_classes)
    return float(np.trace(confusion) / len(targets)), float(_precision_recall_f1(confusion)[2].mean())


def _precision_recall_f1(confusion: Int64) -> tuple[Float64, Float64, Float64]:
    """(…, C, C) -> precision, recall and F1, each (…, C)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    predicted, actual = confusion.sum(axis=-2), confusion.sum(axis=-1)
    return (
        hits / np.maximum(predicted, 1),
        hits / np.maximum(actual, 1),
        2 * hits / np.maximum(predicted + actual, 1),
    )


def _log_loss(targets: Int64, probs: Float64) -> float:
    """Mean of −ln of the true class's probability; probabilities are clipped to [ε, 1 − ε], ε the machine epsilon."""
    eps = np.finfo(np.float64).eps
    return float(-np.log(np.clip(probs[np.arange(len(targets)), targets], eps, 1 - eps)).mean())


def _ece(targets: Int64, probs: Float64) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): |accuracy − confidence| of each bin of `reliability`,
    weighted by its fraction of the rows."""
    confidence, accuracy, count = reliability(targets, probs)
    return float((np.abs(accuracy - confidence) * count).sum() / len(targets))


def reliability(targets: Int64, probs: Float64) -> tuple[Float64, Float64, Int64]:
    """Mean confidence, accuracy and number of rows, (K,) each, of the K non-empty bins of the top probability.

    There are 15 bins of equal width.
    """
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == targets
    bins = np.clip(np.ceil(confidence * _ECE_BINS).astype(int) - 1, 0, _ECE_BINS - 1)
    count = np.bincount(bins, minlength=_ECE_BINS)
    full = count > 0
    confidences, accuracies = (
        np.bincount(bins, weights=values, minlength=_ECE_BINS)[full] / count[full]
        for values in (confidence, right)
    )
    return confidences, accuracies, count[full]


def _roc_auc(positive: npt.NDArray[np.bool_], score: Float64) -> float | None:
    """The fraction of (positive, negative) pairs that the score orders correctly, ties counting half.

    None if there is no positive or no negative row.
    """
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if not num_positive or not num_negative:
        return None
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2  # equal scores get the mean of their ranks
    rank_sum = float(ranks[inverse][positive].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def bootstrap_ci(
    targets: Int64, predicted: Int64, num_classes: int, seed: int = 0, samples: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap percentile intervals of accuracy and macro F1 (Efron 1979).

    Both depend on the confusion matrix alone, so a resample of N rows is one multinomial draw of its non-zero counts.
    """
    confusion = confusion_counts(targets, predicted, num_classes).ravel()
    cells = np.flatnonzero(confusion)  # the non-zero cells by true class: at most N of C²
    rng = np.random.default_rng(seed)
    step = max(1, _MOST_DRAWS // len(cells))
    scores = [
        _resampled_scores(
            rng.multinomial(len(targets), confusion[cells] / len(targets), size=min(step, samples - done)),
            cells,
            num_classes,
        )
        for done in range(0, samples, step)
    ]
    low, high = np.quantile(np.concatenate(scores, axis=1), [0.025, 0.975], axis=1)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("accuracy", "macro_f1"))}


def _resampled_scores(draws: Int64, cells: Int64, num_classes: int) -> Float64:
    """(S, K) counts of the K non-zero cells -> (2, S): accuracy and macro F1 of each resample."""
    actual, predicted = cells // num_classes, cells % num_classes
    totals = np.zeros((len(draws), num_classes), np.int64)  # of each class: its rows plus its predictions
    for classes in (actual, predicted):
        order = np.argsort(classes, kind="stable")
        present, first = np.unique(classes[order], return_index=True)
        totals[:, present] += np.add.reduceat(draws[:, order], first, axis=1)
    right = actual == predicted
    f1 = 2 * draws[:, right] / np.maximum(totals[:, actual[right]], 1)  # 0 without a correct prediction
    return np.stack([draws[:, right].sum(axis=1) / draws[0].sum(), f1.sum(axis=1) / num_classes])


def paired_verdict(targets: Int64, ours: Int64, theirs: Int64) -> tuple[str, float]:
    """Compare two predictions of the same rows, all (N,), by McNemar's exact test: ("beats" | "ties" | "loses to", p).

    The null hypothesis (McNemar 1947): if only one of the two predicts a row correctly, each is equally likely to be
    that one. p is two-sided; the verdict is "ties" for p ≥ 0.05.
    """
    only_ours = int(((ours == targets) & (theirs != targets)).sum())
    only_theirs = int(((theirs == targets) & (ours != targets)).sum())
    p = _two_sided_binomial(min(only_ours, only_theirs), only_ours + only_theirs)
    if p >= _SIGNIFICANCE:
        return "ties", p
    return ("beats" if only_ours > only_theirs else "loses to"), p


def _two_sided_binomial(smaller: int, n: int) -> float:
    """The probability that n throws of a fair coin split at least as unevenly as smaller : n − smaller."""
    if 2 * smaller == n:
        return 1.0
    k = np.arange(smaller + 1)
    # the binomial coefficient, term by term: ln C(n, k) = Σ ln(n − j) − ln(j + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log(n - k[:-1]) - np.log(k[:-1] + 1))])
    largest = log_choose[-1]
    tail = largest - n * math.log(2) + math.log(float(np.exp(log_choose - largest).sum()))
    return min(1.0, 2 * math.exp(tail))


def to_json(scores: Classification) -> dict[str, Any]:
    """The scores under the keys of metrics.json."""
    return {
        "n": scores.n,
        **scores.scalars(),
        "per_class": {
            name: {"precision": c.precision, "recall": c.recall, "f1": c.f1, "support": c.support}
            for name, c in scores.per_class.items()
        },
    }
