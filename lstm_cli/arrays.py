"""NumPy array types by the type of their values, and ragged arrays. `batch.py` explains the names of the axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt16 = npt.NDArray[np.uint16]
UInt32 = npt.NDArray[np.uint32]
UInt64 = npt.NDArray[np.uint64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged(Sequence[AnyArray]):
    """N rows of unequal length in one array: row i is `values[offsets[i]:offsets[i + 1]]`.

    `values` are (sum T,) or (sum T, F); `offsets` are (N + 1,) and begin with 0.
    """

    values: AnyArray
    offsets: Int64

    @classmethod
    def pack(cls, rows: Sequence[AnyArray]) -> Ragged:
        """Concatenate rows (T,) or (T, F) of one type. If there are no rows, the values are (0,) int32."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.zeros(0, np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: Any) -> Any:
        """One row by its index."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[AnyArray]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> Int64:
        """(N,) number of steps of each row."""
        return np.diff(self.offsets)

    def select(self, rows: Int64) -> Ragged:
        """The rows with these indices, in this order."""
        return Ragged.pack([self[row] for row in rows.tolist()])
