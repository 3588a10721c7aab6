"""Scores of forecasts: errors by horizon, coverage of intervals, and the Diebold-Mariano test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import Float64, Int64
from lstm_cli.metrics.metric import Metric

MAE = Metric("mae", "MAE", higher_is_better=False)
FIRST_MAE = Metric("mae_h1", "MAE of the first step", higher_is_better=False)
RMSE = Metric("rmse", "RMSE", higher_is_better=False)
MASE = Metric("mase", "MASE", higher_is_better=False)
SMAPE = Metric("smape", "sMAPE", higher_is_better=False, format=".2%")
COVERAGE = Metric("coverage", "coverage", higher_is_better=True, format=".1%")
PINBALL = Metric("pinball", "pinball loss", higher_is_better=False)
METRICS = (MAE, FIRST_MAE, RMSE, MASE, SMAPE, COVERAGE, PINBALL)

_LEVEL = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """The scores of N forecasts of H steps; a target that is NaN counts nowhere.

    The arrays are by step (H,), NaN where no target is known. `coverage` is the fraction of the targets from the lowest
    to the highest quantile. `pinball` is the mean over the quantiles, in units of each series' scale.
    """

    mae: Float64
    rmse: Float64
    mase: Float64
    smape: Float64
    coverage: Float64
    pinball: float
    counts: Int64

    def scalars(self) -> dict[str, float]:
        """Each score over all steps."""
        if not self.counts.sum():
            return {PINBALL.name: self.pinball}
        scores = {
            MAE.name: self._mean(self.mae),
            RMSE.name: math.sqrt(self._mean(self.rmse**2)),
            MASE.name: self._mean(self.mase),
            SMAPE.name: self._mean(self.smape),
            COVERAGE.name: self._mean(self.coverage),
            PINBALL.name: self.pinball,
        }
        return scores | ({FIRST_MAE.name: float(self.mae[0])} if self.counts[0] else {})

    def _mean(self, by_step: Float64) -> float:
        known = self.counts > 0
        return float(np.average(by_step[known], weights=self.counts[known]))


def score_forecasts(
    targets: Float64, outputs: Float64, quantiles: Sequence[float], scale: Float64, mase_scale: Float64
) -> Forecasts:
    """Targets (N, H), outputs (N, H, Q), the scale of each row's series and that of MASE (N,).

    MASE: Hyndman & Koehler 2006. sMAPE: |y - f| / ((|y| + |f|) / 2), 0 where both are 0.
    """
    known = ~np.isnan(targets)
    counts = known.sum(axis=0)
    median = outputs[:, :, middle(quantiles)]
    error = np.where(known, np.abs(targets - median), 0.0)
    magnitude = (np.abs(np.where(known, targets, 0.0)) + np.abs(median)) / 2
    inside = known & (targets >= outputs[:, :, 0]) & (targets <= outputs[:, :, -1])
    losses = pinball(targets[:, :, None], outputs, np.array(quantiles)) / scale[:, None, None]

    def mean(values: Float64) -> Float64:
        result: Float64 = np.where(counts > 0, values.sum(axis=0) / np.maximum(counts, 1), np.nan)
        return result

    return Forecasts(
        mae=mean(error),
        rmse=np.sqrt(mean(error**2)),
        mase=mean(error / mase_scale[:, None]),
        smape=mean(np.divide(error, magnitude, out=np.zeros_like(error), where=magnitude > 0)),
        coverage=mean(inside.astype(np.float64)),
        pinball=float(np.where(known[:, :, None], losses, 0.0).sum() / max(counts.sum() * len(quantiles), 1)),
        counts=counts,
    )


def middle(quantiles: Sequence[float]) -> int:
    """The position of the quantile nearest to 0.5: the forecast itself."""
    return int(np.argmin(np.abs(np.array(quantiles) - 0.5)))


def pinball(targets: Float64, outputs: Float64, quantiles: Float64) -> Float64:
    """The pinball loss of each quantile (Koenker & Bassett 1978), NaN where the target is."""
    error = targets - outputs
    loss: Float64 = np.maximum(quantiles * error, (quantiles - 1) * error)
    return loss


def diebold_mariano(
    ours: Float64, theirs: Float64, times: Int64, lags: int
) -> tuple[Literal["beats", "ties", "loses to"], float]:
    """Are two forecasts' losses (N, H) different? (verdict from our side, p-value). NaN: a target is not known.

    Diebold & Mariano 1995 with the correction of Harvey, Leybourne & Newbold 1997. A row's steps are averaged, and then
    the rows of the same time, since series move together. Forecasts of h steps overlap, so `lags` = h - 1
    autocovariances count, with Bartlett's weights, which keep the variance positive (Newey & West 1987).
    """
    from scipy.stats import t  # takes 0.3 s

    difference = ours - theirs
    known = ~np.isnan(difference).all(axis=1)
    _, group = np.unique(times[known], return_inverse=True)
    if not len(group):
        return "ties", 1.0
    mean = np.bincount(group, np.nanmean(difference[known], axis=1)) / np.bincount(group)
    count = len(mean)
    lags = min(lags, count - 1)
    centred = mean - mean.mean()
    covariances = [float(centred[k:] @ centred[: count - k]) / count for k in range(lags + 1)]
    variance = covariances[0] + 2 * sum((1 - k / (lags + 1)) * covariances[k] for k in range(1, lags + 1))
    if variance <= 0 or count < 3:
        return "ties", 1.0
    steps = lags + 1
    correction = max(count + 1 - 2 * steps + steps * (steps - 1) / count, 1.0) / count
    statistic = float(mean.mean()) / math.sqrt(variance / count) * math.sqrt(correction)
    p = float(2 * t.sf(abs(statistic), count - 1))
    if p >= _LEVEL:
        return "ties", p
    return ("beats" if statistic < 0 else "loses to"), p
