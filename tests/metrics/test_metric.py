"""A metric's name, the direction in which it is better, and how a person reads it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lstm_cli.metrics.classification import ACCURACY, LOG_LOSS, METRICS, classification
from lstm_cli.metrics.metric import Metric


@pytest.mark.parametrize(("higher_is_better", "better", "worse"), [(True, 0.9, 0.1), (False, 0.1, 0.9)])
def test_better_is_strictly_better_in_the_metrics_own_direction(
    higher_is_better: bool, better: float, worse: float
) -> None:
    metric = Metric("score", "a score", higher_is_better)
    assert metric.is_better(better, worse)
    assert not metric.is_better(worse, better)
    assert not metric.is_better(better, better)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_score_that_is_no_number_is_never_better(higher_is_better: bool) -> None:
    metric = Metric("score", "a score", higher_is_better)
    assert not metric.is_better(float("nan"), 0.5)
    assert not metric.is_better(0.5, float("nan"))


def test_a_score_is_shown_in_the_metrics_own_format() -> None:
    assert Metric("f1", "F1", higher_is_better=True).show(0.123456) == "0.1235"
    assert ACCURACY.show(0.98765) == "98.77%"
    assert {metric.name: metric.show(0.25) for metric in METRICS}["ece"] == "25.0%"


def test_a_metric_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ACCURACY.name = "other"  # type: ignore[misc]


def test_every_metric_of_a_classification_has_a_score_and_every_score_a_metric() -> None:
    scores = classification(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), ["a", "b"])
    assert list(scores.scalars()) == [metric.name for metric in METRICS]
    assert (
        len({metric.name for metric in METRICS}) == len({metric.label for metric in METRICS}) == len(METRICS)
    )


def test_a_perfect_classification_is_no_worse_in_any_metric() -> None:
    targets = np.arange(40) % 2
    perfect = np.eye(2)[targets]
    poor = np.where(np.arange(40)[:, None] % 3 == 0, 1 - perfect, perfect) * 0.8 + 0.1
    best, worst = (classification(targets, probs, ["a", "b"]).scalars() for probs in (perfect, poor))
    for metric in METRICS:
        assert metric.is_better(best[metric.name], worst[metric.name]), metric.name
    assert not LOG_LOSS.higher_is_better
