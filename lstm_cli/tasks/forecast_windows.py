"""How a forecaster encodes windows, each by its own past alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lstm_cli.arrays import AnyArray, Float64, Int64, Ragged
from lstm_cli.data.rows import Row
from lstm_cli.data.series import Window
from lstm_cli.data.sources import Rows
from lstm_cli.data.store import Store
from lstm_cli.data.times import CALENDAR_SIZES, Calendar, Frequency, calendar, on_circle, one_hot
from lstm_cli.features.lags import Lags
from lstm_cli.tasks.base import Baseline
from lstm_cli.tasks.forecast_scales import SEASONS, Scaling, SeriesScales, filled

_LATE = 0.9
"""The penalty of the ridge is chosen on the last tenth of the training windows' time."""
_DAYS_BACK, _RECENT = 7, 4
"""How many days back the network sees the hour of a future step, and how many of the last changes it sees."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowEncoder:
    """Windows -> a store.

    A step of the input has the value less the last one in units of its series' scale, whether it is known, and the
    covariates and calendar of that step. Of each future step is known (`known` (N, H, K) in extras): the calendar, the
    covariates whose future is known, the values of the same hour of the days before, the last changes, the last value
    against the window's mean, and the forecast of the ridge.
    `base` (N, H) is what the network's output, in units of `scale` (N,), is added to.
    """

    scales: SeriesScales
    parts: tuple[Calendar, ...]
    max_steps: int
    residual: str
    scaling: Scaling
    lags: Lags | None

    @property
    def num_inputs(self) -> int:
        """F."""
        return 3 + len(self.scales.covariates) + 2 * len(self.parts)

    def _recent(self, past: Float64) -> Float64:
        """The last values less the one before each, and less the one a season before each."""
        changes = [seasonal_difference(past, steps)[-_RECENT:] for steps in (1, self.scales.season)]
        return np.concatenate([np.pad(change, (_RECENT - len(change), 0)) for change in changes])

    @property
    def back(self) -> list[int]:
        """How many steps before a future one the values lie that the network sees beside it: up to a week of days."""
        season = self.scales.season
        day = max(
            (short for short in SEASONS if 3 <= season // short <= 7 and season % short == 0), default=season
        )
        return [day * times for times in range(1, _DAYS_BACK + 1) if day * times <= self.scales.config.window]

    @property
    def num_known(self) -> int:
        """K."""
        one_hots = sum(CALENDAR_SIZES[part] for part in self.parts)
        return (
            one_hots
            + len(self.scales.config.known_columns)
            + len(self.back)
            + 2 * _RECENT
            + 1
            + (self.lags is not None)
        )

    def encode(self, windows: Sequence[Window], targets: bool) -> Store:
        """The store of the windows, which fit the config; with `targets`, (N, H) in units of the data."""
        config = self.scales.config
        pasts = [filled(window.past) for window in windows]
        scale, seasonal = self.scales.of(windows, pasts, self.scaling).T
        last = np.array([past[-1] for past in pasts])
        season = season_matrix(pasts, self.scales.season, config.horizon)
        # against the window, not the series: a series that drifts leaves the levels of train
        means = np.array([past.mean() for past in pasts])
        level = np.broadcast_to(((last - means) / scale)[:, None], season.shape)
        known = [
            (season_matrix(pasts, steps, config.horizon) - last[:, None]) / scale[:, None]
            for steps in self.back
        ]
        known.append(level)
        recent = np.stack([self._recent(past) for past in pasts]) / scale[:, None]
        known += [np.broadcast_to(column[:, None], season.shape) for column in recent.T]
        base = season if self.residual == "season" else np.broadcast_to(last[:, None], season.shape)
        if self.lags:
            linear = self.lags.predict(linear_inputs(windows, pasts, scale, config.window, self.parts))
            known.append(linear)
            base = last[:, None] + linear * scale[:, None]
        center, spread = self.scales.covariates.T
        num_known = len(config.known_columns)
        inputs, futures = [], []
        for at, (window, past) in enumerate(zip(windows, pasts, strict=True)):
            steps = min(len(past), self.max_steps)
            begin = len(past) - steps
            columns = [
                ((past[begin:] - last[at]) / scale[at])[:, None],
                (seasonal_difference(past, self.scales.season)[begin:] / scale[at])[:, None],
                ~np.isnan(window.past[begin:, None]),
            ]
            whole = (_filled_columns(window.known) - center[:num_known]) / spread[:num_known]
            measured = (_filled_columns(window.measured) - center[num_known:]) / spread[num_known:]
            columns += [whole[begin : len(past)], measured[begin:]]
            future = [whole[len(past) :]]
            if self.parts:
                dates = window.dates(window.origin - steps + 1, steps + config.horizon)
                codes = calendar(dates, self.parts)
                columns.append(on_circle(codes[:steps], self.parts))
                future.append(one_hot(codes[steps:], self.parts))
            inputs.append(np.concatenate(columns, axis=1, dtype=np.float32))
            futures.append(np.concatenate(future, axis=1, dtype=np.float32))
        extras: dict[str, AnyArray] = {
            "known": np.concatenate([np.stack(futures), np.stack(known, axis=2)], axis=2, dtype=np.float32),
            "base": np.ascontiguousarray(base),
            "scale": scale,
            "mase_scale": seasonal,
            "naive": last,
            "season": season,
            "unit": self.scales.of(windows, pasts, "series")[:, 0],
            "time": np.array([window.time_of(window.origin) for window in windows], np.int64),
        }
        known_targets = np.stack([future_of(window) for window in windows]) if targets else None
        return Store(Ragged.pack(inputs), np.zeros(len(windows), np.bool_), known_targets, extras)


def future_of(window: Window) -> Float64:
    """(H,). Raises ValueError if the window is for prediction."""
    if window.future is None:
        raise ValueError("this window has no future: it is for prediction")
    return window.future


def _filled_columns(values: Float64) -> Float64:
    if not values.size:
        return values
    return np.stack([filled(column) for column in values.T], axis=1)


def lag_matrix(pasts: Sequence[Float64], window: int) -> Float64:
    """(N, L) the last L values less the last one, from old to new; before a young series, its first value."""
    return np.stack([np.pad(past, (window - len(past), 0), mode="edge") - past[-1] for past in pasts])


def seasonal_difference(past: Float64, season: int) -> Float64:
    """(T,) each value less that of one season before; 0 where the past does not reach so far."""
    found = np.zeros_like(past)
    found[season:] = past[season:] - past[:-season]
    return found


def season_matrix(pasts: Sequence[Float64], season: int, horizon: int) -> Float64:
    """(N, H) the value of the same step of the last season; the last value where the past does not reach so far."""
    steps = np.arange(horizon) % season

    def row(past: Float64) -> Float64:
        at = len(past) - season + steps
        found: Float64 = np.where(at >= 0, past[np.maximum(at, 0)], past[-1])
        return found

    return np.stack([row(past) for past in pasts])


def windows_in_chunks(rows: Iterable[Row[Window]], size: int = 2_000) -> Iterable[list[Window]]:
    """The contents of the rows, `size` at a time."""
    chunk: list[Window] = []
    for row in rows:
        chunk.append(row.content)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def linear_inputs(
    windows: Sequence[Window],
    pasts: Sequence[Float64],
    scale: Float64,
    window: int,
    parts: Sequence[Calendar],
) -> Float64:
    """(N, L + C) what the ridge reads: the lags in units of `scale`, and the calendar of the origin, which tells that
    of every future step. Of hour and weekday each pair is a column, since a weekend has other hours.
    """
    lags = lag_matrix(pasts, window) / scale[:, None]
    if not parts:
        return lags
    codes = np.concatenate([calendar(one.dates(one.origin, 1), parts) for one in windows])
    column, size = codes[:, 0], CALENDAR_SIZES[parts[0]]
    columns = []
    for at, part in enumerate(parts[1:], start=1):
        if {parts[0], part} == {"hour", "weekday"}:
            column, size = column * CALENDAR_SIZES[part] + codes[:, at], size * CALENDAR_SIZES[part]
        else:
            columns.append(_units(codes[:, at], CALENDAR_SIZES[part]))
    return np.concatenate([lags, _units(column, size), *columns], axis=1)


def _units(column: Int64, size: int) -> Float64:
    """(N,) -> (N, size) one-hot, of a mean square of about 1 as the lags have, so that one penalty suits both."""
    found: Float64 = np.eye(size)[column] * np.sqrt(size)
    return found


def lag_chunks(
    rows: Iterable[Row[Window]],
    scales: SeriesScales,
    scaling: Scaling,
    parts: Sequence[Calendar],
    late: int,
) -> Iterable[tuple[Float64, Float64, bool]]:
    """Chunks for `Lags.learn`: inputs, targets in units of the scale, and whether they end after `late`."""
    for chunk in windows_in_chunks(rows):
        pasts = [filled(window.past) for window in chunk]
        scale = scales.of(chunk, pasts, scaling)[:, 0]
        last = np.array([past[-1] for past in pasts])[:, None]
        inputs = linear_inputs(chunk, pasts, scale, scales.config.window, parts)
        targets = (np.stack([future_of(window) for window in chunk]) - last) / scale[:, None]
        is_late = np.array([window.span()[1] > late for window in chunk])
        for when in (False, True):
            yield inputs[is_late == when], targets[is_late == when], when


def learn_lags(rows: Rows[Window], scales: SeriesScales, scaling: Scaling, parts: Sequence[Calendar]) -> Lags:
    """The ridge of the training windows, its penalty chosen on the latest of them."""
    times = np.array([row.content.span() for row in rows])
    late = int(times[:, 0].min() + _LATE * (times[:, 1].max() - times[:, 0].min()))
    return Lags.learn(lag_chunks(rows, scales, scaling, parts, late))


def simple_forecasts(train: Rows[Window], rows: Rows[Window], scales: SeriesScales) -> list[Baseline]:
    """The last value, that of the last season, and a ridge regression on the lags alone."""
    config, lags = scales.config, learn_lags(train, scales, "series", ())
    encoder = WindowEncoder(scales, (), 1, "last", "series", lags)
    stores = [encoder.encode(windows, targets=False) for windows in windows_in_chunks(rows)]
    naive, season, base = (
        np.concatenate([one.extras[name] for one in stores]) for name in ("naive", "season", "base")
    )
    repeated = np.repeat(naive[:, None], config.horizon, axis=1)
    note = f"ridge on {config.window} lags less the last value, penalty {lags.penalty:g}"
    found = [Baseline("naive", repeated, "the last value"), Baseline("ridge", base, note)]
    if scales.season > 1:
        same = f"the value {scales.season} steps before"
        found.insert(1, Baseline("seasonal_naive", season, same))
    return found


def synthetic_rows(scales: SeriesScales, rng: np.random.Generator, count: int) -> list[Row[Window]]:
    """Random walks of a series that train lacks; the first one has a single step."""
    config, frequency = scales.config, Frequency("second", 3600)
    rows = []
    for length in [1, *rng.integers(1, config.window + 1, count)]:
        past = np.cumsum(rng.standard_normal(length))
        known = rng.standard_normal((length + config.horizon, len(config.known_columns)))
        measured = rng.standard_normal((length, len(config.past_columns)))
        window = Window("\0", frequency, 0, 0, past, None, known, measured, config)
        rows.append(Row(window, "random", 1))
    return rows
