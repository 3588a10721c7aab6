"""`builtin:demand`: simulated hourly demand with a day, a week, a trend and noise, made by a seeded generator.

The season depends on hour and weekday, so whoever knows the calendar can learn it exactly; what is left is noise, and
the best that any method can reach is a mean absolute error of `FLOOR`. A ridge regression on the lags must average the
noise away and stays above it.

The values depend only on the sequence of `random.Random(seed).random()`, which is the same in all versions of Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from statistics import NormalDist

HOURS = 24 * 7 * 26
_SIGMA = 4.86
FLOOR = _SIGMA * math.sqrt(2 / math.pi)
"""3.88, the mean absolute error of a forecast that knows everything but the noise."""
_START = datetime(2024, 1, 1)
_LEVEL, _GROWTH = 100.0, 0.002
_SEED = 21


def demand() -> Iterator[tuple[str, float]]:
    """(time, demand) of each hour."""
    draw, normal = Random(_SEED), NormalDist(0, _SIGMA)
    for hour in range(HOURS):
        noise = normal.inv_cdf(min(max(draw.random(), 1e-12), 1 - 1e-12))
        time = _START + timedelta(hours=hour)
        yield time.isoformat(sep=" "), round(expected(hour) + noise, 3)


def expected(hour: int) -> float:
    """The demand of an hour, counted from a Monday's midnight, without noise: low at night, peaks at 9 and 19 o'clock,
    and at weekends later and lower."""
    weekend = hour // 24 % 7 >= 5
    angle = 2 * math.pi * (hour % 24 - (2 if weekend else 0)) / 24
    daily = -14 * math.cos(angle - 0.9) - 8 * math.cos(2 * angle - 1.4)
    return _LEVEL + _GROWTH * hour + (0.7 * daily - 12 if weekend else daily)
