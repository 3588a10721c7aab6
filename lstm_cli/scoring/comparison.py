"""The result of a check, and the comparison of outputs that were computed in two ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lstm_cli.arrays import Float64, Ragged

TOLERANCE = 1e-5
"""The largest difference between two computations in fp32 that `verify` accepts. On one machine it is about 1e-7."""
Outputs = Float64 | Ragged


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check.

    `compared` says what was compared; `difference` is the largest absolute one of any output, or None.
    """

    name: str
    compared: str
    result: Literal["ok", "FAILED", "skipped"]
    difference: float | None = None
    note: str = ""


def compare(
    name: str, compared: str, given: Sequence[Outputs], again: Sequence[Outputs], tolerance: float = TOLERANCE
) -> Check:
    """Compare two sequences of outputs.

    The check is ok if no value differs by more than `tolerance` and all are finite.
    """
    difference = float(np.max([_difference(one, other) for one, other in zip(given, again, strict=True)]))
    if difference <= tolerance:
        return Check(name, compared, "ok", difference)
    if np.isnan(difference):
        return Check(name, compared, "FAILED", None, "an output is NaN")
    return Check(
        name, compared, "FAILED", difference, f"differs by {difference:.1e}, allowed is {tolerance:.0e}"
    )


def _difference(one: Outputs, other: Outputs) -> float:
    """The largest difference; of outputs beyond 1, such as forecasts, as a fraction of the largest output."""
    largest = max(1.0, *(float(np.abs(a).max(initial=0.0)) for a in one)) if len(one) else 1.0
    return float(np.max([np.abs(a - b).max() for a, b in zip(one, other, strict=True)])) / largest
