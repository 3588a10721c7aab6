"""Time series in long tables, one point a line, as windows: the past of an origin and, where it is known, the future.

A window is one row: it is what is split, stored, scored and predicted. So training, resume, reports and `predict` need
nothing that they do not have, and every score is one of an origin. The price is that a point is stored once for each
window that holds it. A split is a time: a window belongs to dev or test if its whole future does, and one that reaches
over the boundary belongs to no split.

Every format of tables can be read, since the points come from its reader (`Content.gathered`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from lstm_cli.arrays import Float64, Int64
from lstm_cli.data.rows import Content, Reading, Row, RowError
from lstm_cli.data.series_config import SeriesConfig
from lstm_cli.data.times import Dates, Frequency, Kind, find_frequency, parse_time
from lstm_cli.errors import DataError

_SHOWN = 3
_LOG = logging.getLogger(__name__)
_NO_NUMBER = {"", "na", "nan", "null", "none", "n/a", "."}


@dataclass(frozen=True, slots=True)
class _Point:
    """A line of the table. `values` are the target, then the known covariates, then the past ones; NaN: missing."""

    series: str
    kind: Kind
    time: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Window(Content):
    """The past of an origin, the last known step, and the H steps after it.

    `origin` is its position on the grid of `frequency` and `offset`. `past` (T,) ends at the origin; a missing value is
    NaN. `future` (H,), or None if it is to be forecast. `known` (T + H, K) are the covariates whose future is known,
    `measured` (T, P) those whose past is. `config` is how the window was cut.
    """

    series: str
    frequency: Frequency
    offset: int
    origin: int
    past: Float64
    future: Float64 | None
    known: Float64
    measured: Float64
    config: SeriesConfig

    @classmethod
    def columns(cls, reading: Reading) -> list[tuple[str, str]]:
        series = series_config(reading)
        named = [("series.time_column", name) for name in series.time_columns]
        named += [("series.target_column", series.target_column)]
        named += [("series.id_column", series.id_column)] if series.id_column else []
        named += [("series.known_columns", name) for name in series.known_columns]
        return named + [("series.past_columns", name) for name in series.past_columns]

    @classmethod
    def from_values(cls, values: Sequence[object], reading: Reading, encoding: str | None) -> Any:  # noqa: ARG003
        """The point of one line, of which `gathered` makes windows."""
        series = series_config(reading)
        times, (target, *rest) = values[: len(series.time_columns)], values[len(series.time_columns) :]
        name = str(rest.pop(0)) if series.id_column else ""
        if series.id_column and not name.strip():
            raise RowError(f'column "{series.id_column}": empty, so the point belongs to no series')
        kind, time = parse_time(times[0] if len(times) == 1 else " ".join(map(str, times)))
        names = (series.target_column, *series.known_columns, *series.past_columns)
        numbers = tuple(map(_number, (target, *rest), names))
        return _Point(name, kind, time, numbers)

    @classmethod
    def empty(cls) -> Window:
        nothing = np.zeros((0, 0))
        return cls("", Frequency("number", 1), 0, 0, np.zeros(0), None, nothing, nothing, SeriesConfig())

    @classmethod
    def gathered(cls, rows: Iterator[Row[Any]], reading: Reading) -> Iterator[Row[Any]]:
        """The windows of the points of one file, series by series in the order of the file, each from old to new.

        With labels there is one for every origin, else one for each series, after its last known value. A line that
        cannot be used comes first.
        """
        points: dict[str, list[tuple[_Point, int]]] = {}
        path = ""
        kind: Kind | None = None
        for row in rows:
            path = row.path
            if row.error is not None:
                yield row
                continue
            point: Any = row.content
            if point.kind != (kind := kind or point.kind):
                yield reading.broken(
                    row.path, row.line, f"the time is a {point.kind}, those above are {kind}s"
                )
                continue
            points.setdefault(point.series, []).append((point, row.line))
        if kind is not None:
            yield from _windows(points, kind, path, reading)

    def key(self) -> bytes:
        future = b"" if self.future is None else self.future.tobytes()
        return f"{self.series}\0{self.origin}\0".encode("utf-8", "replace") + self.past.tobytes() + future

    def size(self) -> int:
        return len(self.past)

    def span(self) -> tuple[int, int]:
        """The time of the first and of the last step of the future, as `time_of` gives it."""
        return self.time_of(self.origin + 1), self.time_of(self.origin + self.config.horizon)

    def time_of(self, position: int) -> int:
        """Seconds since 1970 of a position, or its number if times are numbers."""
        if self.frequency.unit == "number":
            return position * self.frequency.step + self.offset
        return int(self.dates(position, 1).astype(np.int64)[0])

    def dates(self, first: int, count: int) -> Dates:
        """(count,) the dates of the positions from `first` on."""
        return self.frequency.dates(np.arange(first, first + count), self.offset)

    def shown(self, first: int, count: int) -> list[str]:
        """(count,) the times of the positions from `first` on, as text."""
        return self.frequency.shown(np.arange(first, first + count), self.offset)

    def as_json(self) -> dict[str, Any]:
        return {"unique_id": self.series, "origin": self.shown(self.origin, 1)[0], "past": listed(self.past)}


def series_config(reading: Reading) -> SeriesConfig:
    """The `data.series:` section, or its defaults."""
    return reading.config.series or SeriesConfig()


def listed(values: Float64) -> list[float | None]:
    """The values for JSON, which has no NaN."""
    return [None if math.isnan(value) else value for value in values.tolist()]


def _number(value: object, name: str) -> float:
    if isinstance(value, bool):
        return float(value)
    if value is None or (isinstance(value, str) and value.strip().lower() in _NO_NUMBER):
        return math.nan
    try:
        number = float(str(value))
    except ValueError:
        raise RowError(f'column "{name}": {str(value)[:60]!r} is no number') from None
    if math.isinf(number):
        raise RowError(f'column "{name}": an infinite number')
    return number


def _windows(
    points: dict[str, list[tuple[_Point, int]]], kind: Kind, path: str, reading: Reading
) -> Iterator[Row[Any]]:
    series = series_config(reading)
    for name, listed_points in points.items():
        listed_points.sort(key=lambda one: one[0].time)
        points[name] = _without_copies(listed_points, path, series)
    frequency = find_frequency(
        kind, [np.array([point.time for point, _ in one], np.int64) for one in points.values()]
    )
    found = 0
    for name, of_series in points.items():
        grid = _Grid.of(name, of_series, frequency, path)
        for row in grid.rows(series, path, labelled=reading.labelled):
            found += 1
            yield row
    if not found and reading.labelled:
        longest = max(map(len, points.values()))
        raise DataError(
            f"{path}: no series is long enough for one origin: the longest has {longest} steps, and it takes "
            f"{series.shortest} past and {series.horizon} future ones. Try a lower data.series.horizon"
        )


def _without_copies(
    points: list[tuple[_Point, int]], path: str, series: SeriesConfig
) -> list[tuple[_Point, int]]:
    """Each point once. Raises DataError if two have the same time and different values."""
    kept, copies = points[:1], []
    for (before, first), (point, line) in pairwise(points):
        if point.time != before.time:
            kept.append((point, line))
        elif np.array_equal(point.values, before.values, equal_nan=True):
            copies.append(f"line {line} as line {first}")
        else:
            hint = (
                "keep one of them"
                if series.id_column
                else "keep one of them, or name the column that holds the series: data.series.id_column"
            )
            raise DataError(
                f"{path}:{line}: {_of(point.series)}a second value for the time of line {first}; {hint}"
            )
    if copies:
        _LOG.warning(
            f"{path}: {_of(points[0][0].series)}copies of points that are left out: {len(copies):,} "
            f"({', '.join(copies[:_SHOWN])}{_more(len(copies))})"
        )
    return kept


def _more(count: int) -> str:
    return f" and {count - _SHOWN:,} more places" if count > _SHOWN else ""


def _of(series: str) -> str:
    return f"series {series!r}: " if series else ""


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """A series on its grid without holes: `values` (N, 1 + K + P), NaN where there is no point; `lines` (N,)."""

    name: str
    frequency: Frequency
    offset: int
    first: int
    values: Float64
    lines: Int64

    @classmethod
    def of(cls, name: str, points: list[tuple[_Point, int]], frequency: Frequency, path: str) -> _Grid:
        """Raises DataError if a point lies between two steps."""
        times = np.array([point.time for point, _ in points], np.int64)
        positions, offsets = frequency.positions(times)
        if (odd := np.flatnonzero(offsets != offsets[0])).size:
            raise DataError(
                f"{path}:{points[odd[0]][1]}: {_of(name)}this time is no whole number of steps after the first one; "
                f"the usual step is 1 {frequency.name}. Correct it, or leave the line out"
            )
        at = positions - positions[0]
        length = int(at[-1]) + 1
        if length > 100 * len(at) + 100_000:
            raise DataError(
                f"{path}:{points[-1][1]}: {_of(name)}{length:,} steps of 1 {frequency.name} for {len(at):,} points; "
                f"is this time right?"
            )
        values = np.full((length, len(points[0][0].values)), np.nan)
        values[at] = [point.values for point, _ in points]
        lines = np.zeros(length, np.int64)
        lines[at] = [line for _, line in points]
        lines = np.maximum.accumulate(lines) if (lines[at][:-1] <= lines[at][1:]).all() else lines
        grid = cls(name, frequency, int(offsets[0]), int(positions[0]), values, lines)
        grid._report_gaps(at, path)
        return grid

    def _report_gaps(self, at: Int64, path: str) -> None:
        after = np.flatnonzero(np.diff(at) > 1)
        if not after.size:
            return
        gaps = [
            f"{self._shown(int(at[one]) + 1)} to {self._shown(int(at[one + 1]) - 1)}"
            for one in after[:_SHOWN].tolist()
        ]
        missing = len(self.values) - len(at)
        _LOG.warning(
            f"{path}: {_of(self.name)}missing steps of 1 {self.frequency.name}: {missing:,} "
            f"({', '.join(gaps)}{_more(after.size)}); the last value is carried forward, and no "
            f"score counts them"
        )

    def _shown(self, step: int) -> str:
        return self.frequency.shown(np.array([self.first + step]), self.offset)[0]

    def rows(self, series: SeriesConfig, path: str, *, labelled: bool) -> Iterator[Row[Window]]:
        """A row for every origin, or without labels for the last one."""
        known_values = np.flatnonzero(~np.isnan(self.values[:, 0]))
        if not known_values.size:
            error = f"{_of(self.name)}no value of {series.target_column} is known"
            yield Row(Window.empty(), path, int(self.lines.max()), error=error)
            return
        begin, last = int(known_values[0]), int(known_values[-1])
        if not labelled:
            yield self._row(begin, last, series, path, labelled=False)
            return
        origins = range(last - series.horizon, begin + series.shortest - 2, -series.step)
        for origin in reversed(origins):
            yield self._row(begin, origin, series, path, labelled=True)

    def _row(
        self, begin: int, origin: int, series: SeriesConfig, path: str, *, labelled: bool
    ) -> Row[Window]:
        start, end = max(begin, origin - series.window + 1), origin + series.horizon + 1
        num_known = len(series.known_columns)
        known = self.values[start:end, 1 : 1 + num_known]
        if len(known) < end - start:  # the table ends before the horizon
            known = np.pad(known, ((0, end - start - len(known)), (0, 0)), constant_values=np.nan)
        window = Window(
            series=self.name,
            frequency=self.frequency,
            offset=self.offset,
            origin=self.first + origin,
            past=self.values[start : origin + 1, 0],
            future=self.values[origin + 1 : end, 0] if labelled else None,
            known=known,
            measured=self.values[start : origin + 1, 1 + num_known :],
            config=series,
        )
        row = Row(window, path, int(self.lines[origin]))
        if num_known and not labelled:
            missing = int(np.isnan(known[origin + 1 - start :]).any(axis=1).sum())
            if missing:
                error = (
                    f"{_of(self.name)}{missing} of the next {series.horizon} steps lack "
                    f"{', '.join(series.known_columns)}; add them as rows with an empty {series.target_column}"
                )
                return replace(row, content=Window.empty(), error=error)
        return row


def time_split(rows: Iterable[Row[Any]], begin: float | str) -> tuple[Any, Any]:
    """(N,) masks of the windows before and from a time on; the windows that reach over it are in neither. A row with an
    `error` counts as before.

    `begin` is a date or number as in `from:2017-03-01`, or the fraction of the time at the end. Raises DataError if it
    is no time.
    """
    spans = np.array([row.content.span() for row in rows if row.error is None], np.int64).reshape(-1, 2)
    if isinstance(begin, str):
        try:
            _, cut = parse_time(begin)
        except RowError as fault:
            raise DataError(f"from:{begin}: {fault}") from None
    else:
        low, high = int(spans[:, 0].min()), int(spans[:, 1].max())
        cut = high - round(begin * (high - low))
        later = spans[:, 0][spans[:, 0] >= cut]
        cut = int(later.min()) if later.size else cut
    usable = np.array([row.error is None for row in rows])
    before, after = np.ones(len(usable), np.bool_), np.zeros(len(usable), np.bool_)
    before[usable], after[usable] = spans[:, 1] < cut, spans[:, 0] >= cut
    return before, after
