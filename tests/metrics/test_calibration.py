"""The scales minimise the log loss, are never below zero, and a few easy rows do not make them infinite."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from lstm_cli.arrays import Float64, Int64
from lstm_cli.metrics.calibration import fit_scales, scaled_probs
from lstm_cli.metrics.classification import classification

NOTHING = np.zeros((400, 0))


def rows(num_classes: int = 3, seed: int = 0) -> tuple[Float64, Float64, Int64]:
    """Two sets of logits, and targets drawn from the softmax of their sum."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 1.5, (2, 400, num_classes))
    probs = scaled_probs(np.ones(2), first, second)
    targets = np.array([rng.choice(num_classes, p=row) for row in probs])
    return first, second, targets


def log_loss(scales: list[float], first: Float64, second: Float64, targets: Int64) -> float:
    total = scales[0] * first + (scales[1] * second if second.shape[1] else 0)
    return float(-log_softmax(total, axis=1)[np.arange(len(targets)), targets].sum())


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_logits_too_sure_or_unsure_by_a_factor_are_scaled_back(temperature: float) -> None:
    first, second, targets = rows()
    logits = first + second
    scales = fit_scales(logits * temperature, NOTHING, targets)
    assert scales[0] * temperature == pytest.approx(1, abs=0.25)
    before = classification(targets, scaled_probs(np.ones(2), logits * 5, NOTHING), "abc")
    after = classification(
        targets, scaled_probs(fit_scales(logits * 5, NOTHING, targets), logits * 5, NOTHING), "abc"
    )
    assert after.ece < before.ece
    assert after.accuracy == before.accuracy


@pytest.mark.parametrize("num_classes", [2, 5])
def test_no_other_scales_have_a_lower_log_loss(num_classes: int) -> None:
    first, second, targets = rows(num_classes)
    scales = fit_scales(first * 3, second / 2, targets)

    def loss(a: float, b: float) -> float:
        return log_loss([a, b], first * 3, second / 2, targets) + ((a - 1) ** 2 + (b - 1) ** 2) / 2

    least = loss(*scales)
    for a in (0, scales[0] - 0.02, scales[0], scales[0] + 0.02, 1):
        for b in (0, scales[1] - 0.02, scales[1], scales[1] + 0.02, 1):
            assert loss(a, b) >= least - 1e-4


def test_noise_gets_a_scale_near_zero_and_wrong_logits_are_never_negated() -> None:
    first, second, targets = rows()
    noise = np.random.default_rng(1).normal(size=first.shape) * 3
    assert fit_scales(first + second, noise, targets)[1] < 0.1
    assert fit_scales(-first - second, NOTHING, targets)[0] == 1e-3


def test_a_constant_a_row_changes_nothing() -> None:
    first, second, targets = rows()
    moved = first + np.arange(400.0)[:, None]
    again = fit_scales(moved, second, targets)
    assert again == pytest.approx(fit_scales(first, second, targets), abs=1e-3)


def test_a_few_rows_that_are_all_right_do_not_make_every_prediction_certain() -> None:
    logits = np.array([[2.0, -2.0], [-1.0, 1.0]])
    scales = fit_scales(logits, NOTHING[:2], np.array([0, 1]))
    assert 1 < scales[0] < 3
