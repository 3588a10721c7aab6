"""What a forecaster learns of its series from the training windows alone: their scales, and the season."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import AnyArray, Float64
from lstm_cli.data.rows import Row
from lstm_cli.data.series import Window
from lstm_cli.data.series_config import SeriesConfig

SEASONS = (4, 7, 12, 24, 48, 52, 96, 168, 365, 672, 1440)
"""Candidates for the season in steps: quarters, days, months, hours, half hours, weeks, …"""
_LEAST_SCALE = 0.1
"""The scale of a window whose values hardly change, as a fraction of that of its series."""
Scaling = Literal["series", "window"]
_CLEARLY, _AS_GOOD = 0.98, 1.02
"""A season must lower the error of the naive forecast over one horizon by this factor to be one, and a longer season
must be better by 2 % than a shorter one."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesScales:
    """What is learned from the training rows about every series: `scales` (S + 1, 2) are the standard deviation and the
    mean absolute difference of values one season apart, in the order of `names`; the last entry is the median.

    `season` is in steps, 1: none. `covariates` (K + P, 2) are mean and standard deviation.
    """

    config: SeriesConfig
    season: int
    names: tuple[str, ...]
    scales: Float64
    covariates: Float64

    @classmethod
    def learn(cls, rows: Iterable[Row[Window]], season: int | None) -> SeriesScales:
        """From the points of the training windows, each once. `season` None: found."""
        values: dict[str, list[AnyArray]] = {}
        last: dict[str, Window] = {}
        first: Window | None = None
        others: list[AnyArray] = []
        for row in rows:
            window = row.content
            first = first or window
            before = last.get(window.series)
            new = len(window.past) if before is None else min(window.origin - before.origin, len(window.past))
            values.setdefault(window.series, []).append(window.past[len(window.past) - new :])
            known = window.known[: len(window.past)]
            others.append(np.concatenate([known, window.measured], axis=1)[len(known) - new :])
            last[window.series] = window
        assert first is not None, "load_splits refuses a split without rows"
        for name, window in last.items():
            if window.future is not None:
                values[name].append(window.future)
        series = {name: filled(np.concatenate(parts)) for name, parts in values.items()}
        season = season or find_season(list(series.values()), first.config.horizon)
        scales = np.array([_scales(one, season) for one in series.values()])
        pooled = np.median(scales, axis=0)
        covariates = np.concatenate(others)
        if covariates.shape[1]:
            center, spread = np.nanmean(covariates, axis=0), np.nanstd(covariates, axis=0)
            covariates = np.stack([center, np.where(spread > 0, spread, 1.0)], axis=1)
        else:
            covariates = np.zeros((0, 2))
        return cls(first.config, season, tuple(series), np.vstack([scales, pooled]), covariates)

    def of(self, windows: Sequence[Window], pasts: Sequence[Float64], scaling: Scaling) -> Float64:
        """(N, 2) standard deviation and seasonal difference for each window: those of its series, or with `window` the
        standard deviation of its own past. Those of a series that train lacks come from its past too.
        """
        index = {name: at for at, name in enumerate(self.names)}
        of_row = np.array([index.get(window.series, len(index)) for window in windows])
        found: Float64 = self.scales[of_row]
        for at in np.flatnonzero(of_row == len(index)).tolist():
            found[at] = _scales(pasts[at], self.season)
        if scaling == "window":
            own = np.array([past.std() for past in pasts])
            found[:, 0] = np.maximum(own, _LEAST_SCALE * found[:, 0])
        return found

    def to_json(self) -> bytes:
        content = {
            "config": self.config.model_dump(mode="json"),
            "season": self.season,
            "names": list(self.names),
            "scales": self.scales.tolist(),
            "covariates": self.covariates.tolist(),
        }
        return json.dumps(content).encode()

    @classmethod
    def from_json(cls, content: bytes) -> SeriesScales:
        """Raises ValueError, KeyError or TypeError for other content."""
        held = json.loads(content)
        config = SeriesConfig.model_validate(held["config"])
        scales = np.array(held["scales"], np.float64)
        covariates = np.array(held["covariates"], np.float64).reshape(-1, 2)
        if scales.shape != (len(held["names"]) + 1, 2) or not np.isfinite(scales).all():
            raise ValueError("scales: not two finite numbers for each series")
        if len(covariates) != len(config.known_columns) + len(config.past_columns):
            raise ValueError("covariates: not two numbers for each")
        return cls(config, int(held["season"]), tuple(held["names"]), scales, covariates)


def _scales(values: Float64, season: int) -> tuple[float, float]:
    std = float(values.std()) or 1.0
    differences = np.abs(values[season:] - values[:-season])
    return std, float(differences.mean() if differences.size else 0.0) or std


def filled(values: Float64) -> Float64:
    """The values with NaN replaced by the value before, at the beginning by the first one; 0 if there is none."""
    known = ~np.isnan(values)
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    at = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return values[np.where(at < 0, int(known.argmax()), at)]


def find_season(series: Sequence[Float64], horizon: int) -> int:
    """The season in steps at which repeating the last one forecasts `horizon` steps best; 1 if none is clearly better
    than repeating the last value."""

    def error(season: int) -> float:
        totals, count = 0.0, 0
        for values in series:
            for ahead in {1, (1 + horizon) // 2, horizon}:
                back = -(-ahead // season) * season
                if len(values) > back:
                    differences = np.abs(values[back:] - values[:-back]) / (values.std() or 1.0)
                    totals, count = totals + float(differences.sum()), count + len(differences)
        return totals / count if count else np.inf

    naive = float(
        np.mean(
            [
                np.abs(values[ahead:] - values[:-ahead]).mean() / (values.std() or 1.0)
                for values in series
                for ahead in {1, (1 + horizon) // 2, horizon}
                if len(values) > ahead
            ]
            or [0.0]
        )
    )
    longest = max(map(len, series), default=0)
    candidates = [season for season in SEASONS if 3 * season <= longest]
    if not candidates:
        return 1
    errors = [error(season) for season in candidates]
    # several days are a season too, and by chance the better one: the shortest of the good ones
    best = next(at for at, one in enumerate(errors) if one <= _AS_GOOD * min(errors))
    return candidates[best] if errors[best] < _CLEARLY * naive else 1
