"""Scores of forecasts by hand, and the Diebold-Mariano test on losses whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_cli.metrics.regression import diebold_mariano, pinball, score_forecasts

QUANTILES = [0.1, 0.5, 0.9]


def test_the_scores_are_those_by_hand_and_a_missing_value_counts_nowhere() -> None:
    targets = np.array([[1.0, 2.0], [3.0, np.nan]])
    outputs = np.array([[[0.0, 2.0, 3.0], [0.0, 4.0, 5.0]], [[4.0, 4.0, 6.0], [0.0, 0.0, 0.0]]])
    scores = score_forecasts(targets, outputs, QUANTILES, np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    assert scores.mae.tolist() == [1.0, 2.0]
    assert scores.rmse.tolist() == [1.0, 2.0]
    assert scores.mase.tolist() == [(0.5 + 0.25) / 2, 1.0]
    assert scores.coverage.tolist() == [0.5, 1.0]
    assert scores.counts.tolist() == [2, 1]
    found = scores.scalars()
    assert found["mae"] == pytest.approx(4 / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(6 / 3))
    assert found["mae_h1"] == 1.0
    assert found["smape"] == pytest.approx((1 / 1.5 + 1 / 3.5 + 2 / 3) / 3)
    losses = [0.1, 0.5, 0.2, 0.2, 1.0, 0.3, 0.45, 0.25, 0.15]
    assert found["pinball"] == pytest.approx(np.mean(losses))


def test_the_pinball_loss_is_least_at_the_quantile() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    for quantile in QUANTILES:
        guesses = np.linspace(-2, 2, 81)
        losses = [np.mean(pinball(values, np.full_like(values, one), np.array(quantile))) for one in guesses]
        assert guesses[int(np.argmin(losses))] == pytest.approx(np.quantile(values, quantile), abs=0.06)


def test_a_better_forecast_beats_and_an_equal_one_ties() -> None:
    rng = np.random.default_rng(1)
    theirs = rng.uniform(1, 2, (300, 4))
    times = np.arange(300)
    assert (
        diebold_mariano(theirs - 0.2, theirs, times, lags=3)[0] == "ties"
    )  # a constant difference has no variance
    better = theirs - rng.uniform(0, 0.4, (300, 4))
    assert diebold_mariano(better, theirs, times, lags=3)[0] == "beats"
    assert diebold_mariano(theirs, better, times, lags=3)[0] == "loses to"
    assert diebold_mariano(theirs, theirs[::-1], times, lags=3)[0] == "ties"


def test_overlapping_forecasts_do_not_make_chance_significant() -> None:
    """With differences that last for 24 steps, a test without lags would call 5 % of ties by far more than 5 %."""
    rng = np.random.default_rng(2)
    found = {0: 0, 23: 0}
    for _ in range(200):
        steps = np.convolve(rng.normal(size=423), np.ones(24) / 24, "valid")[:, None]
        for lags in found:
            found[lags] += (
                diebold_mariano(steps, np.zeros_like(steps), np.arange(len(steps)), lags)[0] != "ties"
            )
    assert found[0] > 100
    assert found[23] < 40
