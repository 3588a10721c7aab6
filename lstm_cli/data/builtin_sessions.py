"""`builtin:sessions`: simulated browsing sessions of 3 to 20 steps with 16 numbers each, made by a seeded generator.

Of the sessions 30 % end with a purchase, and two of their 16 numbers are higher by 0.4 at each step; the rest is noise.
Only the length of a session and the mean of these two tell buyers from others. No method has a ROC AUC above 0.905 on
test.

The values depend only on the sequence of `random.Random(seed).random()`, which is the same in all versions of Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from statistics import NormalDist

import numpy as np

from lstm_cli.arrays import Float64

LABELS = ("left", "bought")
_SIZES = {"train": 2_000, "dev": 2_000, "test": 10_000}
_SEEDS = {"train": 31, "dev": 32, "test": 33}
_CHANNELS, _SHIFTED, _SHIFT = 16, 2, 0.4
_BUYERS, _SHORTEST, _LONGEST = 0.3, 3, 20


def sessions(split: str) -> Iterator[tuple[Float64, str]]:
    """((T, 16) numbers, label) of each session of a split."""
    draw, normal = Random(_SEEDS[split]).random, NormalDist()
    for _ in range(_SIZES[split]):
        buys = draw() < _BUYERS
        length = _SHORTEST + int(draw() * (_LONGEST - _SHORTEST + 1))
        values = np.array(
            [normal.inv_cdf(min(max(draw(), 1e-12), 1 - 1e-12)) for _ in range(length * _CHANNELS)]
        ).reshape(length, _CHANNELS)
        values[:, :_SHIFTED] += _SHIFT * buys
        yield values.round(3), LABELS[buys]
