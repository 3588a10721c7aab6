"""The scales minimise the log loss where there are rows enough, and no answer is surer than its dev rows allow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from lstm_cli.arrays import Float64, Int64
from lstm_cli.metrics.calibration import Calibration, softmax
from lstm_cli.metrics.classification import classification

NOTHING = np.zeros((400, 0))


def rows(num_classes: int = 3, num: int = 400, seed: int = 0) -> tuple[Float64, Float64, Int64]:
    """Two sets of logits, and targets drawn from the softmax of their sum."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 1.5, (2, num, num_classes))
    targets = np.array([rng.choice(num_classes, p=row) for row in softmax(first + second)])
    return first, second, targets


def fit(first: Float64, second: Float64, targets: Int64) -> Calibration:
    return Calibration.fit(first, second, targets)


def log_loss(probs: Float64, targets: Int64) -> float:
    return float(-np.log(probs[np.arange(len(targets)), targets]).mean())


def all_right(num: int) -> tuple[Float64, Int64]:
    """Logits of two classes, all right, and their targets."""
    targets = np.arange(num) % 2
    return np.where(np.arange(2) == targets[:, None], 4.0, -4.0), targets


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_logits_too_sure_or_unsure_by_a_factor_are_scaled_back(temperature: float) -> None:
    first, second, targets = rows()
    fitted = fit((first + second) * temperature, NOTHING, targets)
    assert fitted.scales[0] * temperature == pytest.approx(1, abs=0.3)
    logits = (first + second) * 5
    before = classification(targets, softmax(logits), "abc")
    probs = fit(logits, NOTHING, targets).probs(logits, NOTHING)
    after = classification(targets, probs, "abc")
    assert after.ece < before.ece
    assert after.accuracy == before.accuracy


@pytest.mark.parametrize("num_classes", [2, 5])
def test_no_other_scales_have_a_lower_log_loss(num_classes: int) -> None:
    first, second, targets = rows(num_classes)
    first, second = first * 3, second / 2
    scales = fit(first, second, targets).scales

    def loss(a: float, b: float) -> float:
        of_rows = -log_softmax(a * first + b * second, axis=1)[np.arange(400), targets].sum()
        return float(of_rows + 5 * (a**2 + (b - 1) ** 2) / 2)

    least = loss(*scales)
    for a in (0, scales[0] - 0.02, scales[0], scales[0] + 0.02, 1):
        for b in (0, scales[1] - 0.02, scales[1], scales[1] + 0.02, 1):
            assert loss(a, b) >= least - 1e-3


def test_noise_gets_a_scale_near_zero_and_wrong_logits_are_never_negated() -> None:
    first, second, targets = rows()
    noise = np.random.default_rng(1).normal(size=first.shape) * 3
    assert fit(first + second, noise, targets).scales[1] < 0.1
    assert fit(noise, first + second, targets).scales[0] < 0.1
    assert fit(-first - second, NOTHING, targets).scales[0] == 1e-3


def test_a_constant_a_row_changes_nothing() -> None:
    first, second, targets = rows()
    moved = first + np.arange(400.0)[:, None]
    again = fit(moved, second, targets)
    assert again.scales == pytest.approx(fit(first, second, targets).scales, abs=1e-3)


@pytest.mark.parametrize("with_ngrams", [True, False])
def test_after_47_dev_rows_that_are_all_right_no_probability_is_above_99_percent(with_ngrams: bool) -> None:
    logits, targets = all_right(47)
    beside = logits if with_ngrams else NOTHING[:47]
    fitted = fit(logits, beside, targets)
    new = np.array([[90.0, -90.0], [0.0, 1.0]])
    probs = fitted.probs(new, new if with_ngrams else NOTHING[:2])
    assert probs.max() < 0.99
    assert probs.sum(axis=1) == pytest.approx(1)
    assert (probs.argmax(axis=1) == [0, 1]).all()


@pytest.mark.parametrize("with_ngrams", [True, False])
def test_fewer_dev_rows_that_are_all_right_never_make_an_answer_surer(with_ngrams: bool) -> None:
    new = np.array([[0.5, -0.5], [3.0, -3.0], [90.0, -90.0]])
    beside = new if with_ngrams else NOTHING[:3]
    sureness = []
    for num in (2, 5, 20, 47, 200, 1_000):
        logits, targets = all_right(num)
        fitted = fit(logits, logits if with_ngrams else NOTHING[:num], targets)
        sureness.append(fitted.probs(new, beside).max(axis=1))
    assert (np.diff(sureness, axis=0) >= 0).all()


def test_a_network_that_is_noise_does_not_harm_the_ngrams_on_new_rows_after_twenty_dev_rows() -> None:
    losses = []
    for seed in range(40):
        first, second, targets = rows(2, 1_000, seed)
        ngrams, noise = first + second, np.random.default_rng(seed).normal(0, 1, first.shape)
        fitted = fit(noise[:20], ngrams[:20], targets[:20])
        probs = fitted.probs(noise[20:], ngrams[20:])
        losses.append(log_loss(probs, targets[20:]) - log_loss(softmax(ngrams[20:]), targets[20:]))
    assert np.mean(losses) < 0.02


def test_an_informative_and_a_useless_part_score_as_the_informative_one() -> None:
    first, second, targets = rows(3, 2_000)
    informative, useless = first + second, np.random.default_rng(1).normal(0, 2, first.shape)
    best = log_loss(softmax(informative[400:]), targets[400:])
    for network, ngrams in ((informative, useless), (useless, informative)):
        probs = fit(network[:400], ngrams[:400], targets[:400]).probs(network[400:], ngrams[400:])
        assert log_loss(probs, targets[400:]) < best + 0.02
