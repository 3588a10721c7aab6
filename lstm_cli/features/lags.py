"""Ridge regression of the next H values on the last L values, less the last one: the linear part of a forecast.

Hoerl & Kennard 1970. It is fitted in one pass over the windows, from sums of products, so that memory does not grow
with their number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lstm_cli.arrays import Float64

FORMAT = 2
"""Increased whenever the same windows would give other weights."""
PENALTIES = tuple(10.0**power for power in range(-4, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Lags:
    """`weights` (L + C + 1, H): of the lags from old to new, of further columns, and last the intercept. `penalty` is a
    fraction of the mean square of a column."""

    weights: Float64
    penalty: float

    @classmethod
    def learn(cls, chunks: Iterable[tuple[Float64, Float64, bool]]) -> Lags:
        """Fit on chunks of inputs (N, L + C) and targets (N, H), lags and targets less the last value.

        A target may be NaN. The penalty is the one of `PENALTIES` with the least squared error on the chunks that are
        marked True, the latest ones; then all chunks are used. Raises ValueError if there are no rows.
        """
        sums: list[_Sums | None] = [None, None]
        for lags, targets, is_late in chunks:
            if len(lags):
                old = sums[is_late]
                new = _Sums.of(lags, targets)
                sums[is_late] = old + new if old else new
        early, late = sums
        if early is None and late is None:
            raise ValueError("no rows to fit on")
        if early is None or late is None:
            both = early or late
            assert both is not None
            return cls(both.solved(1e-2), 1e-2)
        errors = [late.squared_error(early.solved(penalty)) for penalty in PENALTIES]
        best = PENALTIES[int(np.argmin(errors))]
        return cls((early + late).solved(best), best)

    def predict(self, lags: Float64) -> Float64:
        """(N, L + C) -> (N, H) less the last value."""
        result: Float64 = lags @ self.weights[:-1] + self.weights[-1]
        return result

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        return save({"weights": self.weights, "penalty": np.array([self.penalty])})

    @classmethod
    def from_bytes(cls, content: bytes, horizon: int) -> Lags:
        """Raises ValueError or KeyError for other content."""
        try:
            arrays = load(content)
        except SafetensorError as fault:
            raise ValueError(f"lags: {fault}") from None
        weights = arrays["weights"]
        if weights.ndim != 2 or weights.shape[1] != horizon or weights.dtype != np.float64:
            raise ValueError(f"lags: weights of shape {weights.shape}, not of {horizon} steps")
        if not np.isfinite(weights).all():
            raise ValueError("lags: a weight is not finite")
        return cls(weights, float(arrays["penalty"][0]))


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """The sums of products of N rows: `xx` (L + 1, L + 1), `xy` (L + 1, H), `yy` the sum of the squared targets."""

    xx: Float64
    xy: Float64
    yy: float

    @classmethod
    def of(cls, lags: Float64, targets: Float64) -> _Sums:
        x = np.concatenate([lags, np.ones((len(lags), 1))], axis=1)
        x = x[~np.isnan(targets).any(axis=1)]
        y = targets[~np.isnan(targets).any(axis=1)]
        return cls(x.T @ x, x.T @ y, float((y * y).sum()))

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.xx + other.xx, self.xy + other.xy, self.yy + other.yy)

    def solved(self, penalty: float) -> Float64:
        """The weights; the intercept has no penalty."""
        size = len(self.xx) - 1
        mean_square = float(np.trace(self.xx[:-1, :-1])) / max(size, 1)
        diagonal = np.full(size + 1, penalty * mean_square + 1e-12)
        diagonal[-1] = 1e-9
        weights: Float64 = np.asarray(np.linalg.solve(self.xx + np.diag(diagonal), self.xy), np.float64)
        return weights

    def squared_error(self, weights: Float64) -> float:
        return self.yy - 2 * float((weights * self.xy).sum()) + float((weights * (self.xx @ weights)).sum())
