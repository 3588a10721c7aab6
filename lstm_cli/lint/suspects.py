"""Rows whose label is probably wrong: confident learning (Northcutt, Jiang and Chuang 2021) on out-of-sample scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Suspect:
    """Row number `row` has the label `given`; `suggested` is believed with `confidence` by a model that did not learn
    from the row. Labels are positions."""

    row: int
    given: int
    suggested: int
    confidence: float


def rank(probs: npt.NDArray[np.float64], given: npt.NDArray[np.int64]) -> list[Suspect]:
    """(N, C) out-of-sample probabilities, (N,) labels -> the rows to look at, the most suspicious first.

    A class is believed of a row where its probability reaches the class's own average over the rows that carry its
    label, which allows for classes that the model is shy of. Suspect is who has a believed class that is not the given
    one; ranked by how much likelier it is.
    """
    rows = np.arange(len(given))
    sums = np.bincount(given, probs[rows, given], probs.shape[1])
    usual = sums / np.maximum(np.bincount(given, minlength=probs.shape[1]), 1)
    believed = np.where((probs >= usual) & (np.bincount(given, minlength=probs.shape[1]) > 0), probs, 0.0)
    believed[rows, given] = 0
    suggested = believed.argmax(axis=1)
    margin = believed[rows, suggested] - probs[rows, given]
    found = np.flatnonzero((believed[rows, suggested] > 0) & (margin > 0))
    order = found[np.argsort(-margin[found], kind="stable")]
    return [
        Suspect(int(row), int(given[row]), int(suggested[row]), float(probs[row, suggested[row]]))
        for row in order
    ]
