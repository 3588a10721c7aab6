"""Points in time: how they are read, the frequency of a series, and the calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Float32, Int64
from lstm_cli.data.rows import RowError

Dates = npt.NDArray[np.datetime64]

_EPOCH = datetime(1970, 1, 1)
_DAY, _SHORTEST_MONTH = 86_400, 28 * 86_400
_NUMBER = re.compile(r"[+-]?\d{1,18}")
_COMPACT = re.compile(r"(?:19|20)\d{6}")
_ONE_DIGIT = re.compile(r"^(\S+)[ T](\d)(?=$|:)")
_NAMES = {1: "second", 60: "minute", 3600: "hour", _DAY: "day", 7 * _DAY: "week"}

Kind = Literal["date", "number"]
Calendar = Literal["minute", "hour", "weekday", "day", "month"]
CALENDAR_SIZES: dict[Calendar, int] = {"minute": 60, "hour": 24, "weekday": 7, "day": 31, "month": 12}
"""How many values each part of the calendar has."""


def parse_time(value: object) -> tuple[Kind, int]:
    """("date", seconds since 1970) or ("number", the number). Raises RowError for anything else.

    A time with a zone becomes UTC; one without stays as it is. `2011-01-01 5` is five o'clock.
    """
    if isinstance(value, datetime):
        return "date", _seconds(value)
    if isinstance(value, date):
        return "date", _seconds(datetime(value.year, value.month, value.day))
    text = str(value).strip()
    if _NUMBER.fullmatch(text) and not _COMPACT.fullmatch(text):
        return "number", int(text)
    try:
        return "date", _seconds(datetime.fromisoformat(_ONE_DIGIT.sub(r"\1T0\2", text)))
    except ValueError:
        raise RowError(
            f"{text[:60]!r} is no time: write dates as 2011-01-31 or 2011-01-31 13:00, or whole numbers"
        ) from None


def _seconds(time: datetime) -> int:
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return (time - _EPOCH) // timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Frequency:
    """The step from one point to the next: `step` seconds, months or, for times that are numbers, units.

    `day` is that of every point of a monthly series; 31: the last day of the month.
    """

    unit: Literal["second", "month", "number"]
    step: int
    day: int = 1

    @property
    def name(self) -> str:
        """Such as `hour`, `15 minutes` or `month`."""
        if self.unit == "number":
            return f"step of {self.step}"
        if self.unit == "month":
            return "month" if self.step == 1 else f"{self.step} months"
        base = max(size for size in _NAMES if self.step % size == 0)
        count = self.step // base
        return _NAMES[base] if count == 1 else f"{count} {_NAMES[base]}s"

    def positions(self, times: Int64) -> tuple[Int64, Int64]:
        """(number of steps since a fixed time, what is left over) of each time."""
        ticks = _months(times) if self.unit == "month" else times
        return np.divmod(ticks, self.step)

    def dates(self, positions: Int64, offset: int) -> Dates:
        """The dates of positions, whose first one has `offset` left over. Not for times that are numbers."""
        ticks = positions * self.step + offset
        if self.unit == "second":
            seconds: Dates = ticks.astype("datetime64[s]")
            return seconds
        months = ticks.astype("datetime64[M]")
        last = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
        days = months.astype("datetime64[D]") + (np.minimum(self.day, last) - 1)
        dates: Dates = days.astype("datetime64[s]")
        return dates

    def shown(self, positions: Int64, offset: int) -> list[str]:
        """The times as text."""
        if self.unit == "number":
            return [str(tick) for tick in (positions * self.step + offset).tolist()]
        dates = self.dates(positions, offset)
        if self.unit == "month" or (self.step % _DAY == 0 and offset % _DAY == 0):
            return [str(one) for one in dates.astype("datetime64[D]")]
        return [str(one) for one in dates]


def calendar(dates: Dates, parts: Sequence[Calendar]) -> Int64:
    """(N,) -> (N, len(parts)): the minute, hour, weekday (Monday is 0), day and month of each date, from 0 on."""
    days = dates.astype("datetime64[D]")
    seconds = (dates - days).astype(np.int64)
    months = dates.astype("datetime64[M]")
    found: dict[Calendar, Int64] = {
        "minute": seconds // 60 % 60,
        "hour": seconds // 3600,
        "weekday": (days.astype(np.int64) + 3) % 7,
        "day": (days - months).astype(np.int64),
        "month": months.astype(np.int64) % 12,
    }
    return np.stack([found[part] for part in parts], axis=-1)


def one_hot(codes: Int64, parts: Sequence[Calendar]) -> Float32:
    """(N, len(parts)) -> (N, sum of the sizes), for each part a 1 at its value."""
    eyes = [np.eye(CALENDAR_SIZES[part], dtype=np.float32)[codes[..., at]] for at, part in enumerate(parts)]
    return np.concatenate(eyes, axis=-1)


def on_circle(codes: Int64, parts: Sequence[Calendar]) -> Float32:
    """(N, len(parts)) -> (N, 2 len(parts)): sine and cosine, so that 23 o'clock is near 0 o'clock."""
    angles = 2 * np.pi * codes / np.array([CALENDAR_SIZES[part] for part in parts])
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)


def _months(times: Int64) -> Int64:
    """Months since 1970 of seconds since 1970."""
    months: Int64 = times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return months


def find_frequency(kind: Kind, series: list[Int64]) -> Frequency:
    """The most frequent step between neighbours of all series, whose times are sorted and distinct.

    Steps of 28 days or more between equal days of the month, or between last days of months, are months.
    """
    steps = np.concatenate([np.diff(times) for times in series]) if series else np.zeros(0, np.int64)
    if not len(steps):
        return Frequency("number" if kind == "number" else "second", 1 if kind == "number" else _DAY)
    values, counts = np.unique(steps, return_counts=True)
    usual = int(values[counts.argmax()])
    if kind == "number":
        return Frequency("number", usual)
    if usual >= _SHORTEST_MONTH:
        times = np.concatenate(series)
        days = times.astype("datetime64[s]").astype("datetime64[D]")
        of_month = (days - days.astype("datetime64[M]")).astype(np.int64) + 1
        is_last = (days + 1).astype("datetime64[M]") != days.astype("datetime64[M]")
        if is_last.all() or (of_month == of_month[0]).all():
            months = np.concatenate([np.diff(_months(one)) for one in series])
            sizes, counts = np.unique(months, return_counts=True)
            day = 31 if is_last.all() else int(of_month[0])
            return Frequency("month", int(sizes[counts.argmax()]), day)
    return Frequency("second", usual)
