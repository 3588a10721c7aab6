"""Whole numbers for weights: symmetric, with a scale for each slice (Jacob et al. 2018, section 2, zero point 0)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lstm_cli.arrays import Float32


def quantised(weight: Float32, axes: tuple[int, ...], bits: int = 8) -> tuple[npt.NDArray[np.int8], Float32]:
    """(…) -> int8 (…), and the scales, of length 1 along `axes`, by which they are multiplied.

    The largest number of a slice is ±(2**(bits - 1) - 1). A slice of zeros has the scale 1.
    """
    largest = np.abs(weight).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale
